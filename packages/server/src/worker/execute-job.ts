import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { Artifact, Failure } from '@ergon/contract'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import type { Verdict } from '../domain/decide-outcome.ts'
import { MAX_JSON_DEPTH, measureDepth } from '../domain/check-result-json.ts'
import { retryDelayMs } from '../domain/retry-policy.ts'
import { isRefusedSignIn } from '../domain/upstream-verdict.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import { canonicalJson } from '../platform/text/canonical-json.ts'
import type { ResolvedService, ServiceRegistry } from '../registry/service-registry.ts'
import type { ExecutionContext, RunnerOutcome } from '../runners/runner.ts'
import type { PreparedRunner, RunnerRegistry } from '../runners/runner-registry.ts'
import type { Attempt } from './attempt.ts'
import type { OutcomeRecorder } from './outcome-recorder.ts'
import { redactError, redactFailure, redactOutcome } from './redact-outcome.ts'
import type { StorageGuard } from './storage-guard.ts'
import { storeArtifacts } from './store-artifacts.ts'

export interface ExecuteJobDependencies {
  services: ServiceRegistry
  runners: RunnerRegistry
  store: ArtifactStore
  storageGuard: StorageGuard
  recorder: OutcomeRecorder
  /** Called when a job was handed back because this machine cannot run it at the moment. */
  pauseClaims(): void
  /** Which of these dataset digests the job's tenant may read. */
  resolveDatasets(attempt: Attempt, digests: readonly string[]): Promise<ReadonlySet<string>>
  /** Called when somebody refused a secret that a store may have changed. */
  renewSecrets(): void
  logger: Logger
  random(): number
}

/** Takes one claimed job from claim to recorded outcome. Never throws: what goes wrong becomes the job's failure. */
export async function executeJob(attempt: Attempt, dependencies: ExecuteJobDependencies): Promise<void> {
  try {
    const outcome = await runToOutcome(attempt, dependencies)
    await recordOutcome(attempt, outcome, dependencies)
  } catch (error) {
    dependencies.logger.error(
      { err: error, jobId: attempt.job.id },
      'an outcome could not be recorded; the heartbeat gives the job up',
    )
  } finally {
    await cleanUp(attempt)
  }
}

/** What is recorded: the runner's outcome with its artifacts stored, or the fault that took its place. */
interface StoredOutcome {
  outcome: RunnerOutcome
  artifacts: Artifact[]
  /** Null when there is none of the job's name. */
  service: ResolvedService | null
}

async function runToOutcome(attempt: Attempt, dependencies: ExecuteJobDependencies): Promise<StoredOutcome> {
  try {
    const service = resolveService(attempt, dependencies)
    const refusal = checkInput(attempt, service)
    if (refusal !== null) return { outcome: failedOutcome(refusal), artifacts: [], service }
    const prepared = selectRunner(service, dependencies)
    const outcome = await redactOutcome(await run(attempt, service, prepared, dependencies), attempt.redactor)
    const artifacts = await storeArtifacts(outcome.artifacts, dependencies.store)
    return { outcome, artifacts, service }
  } catch (error) {
    return { outcome: describeFault(attempt, error, dependencies), artifacts: [], service: null }
  }
}

/** Step 1: what to run comes from the worker's own registry; what the row says is never obeyed. */
function resolveService(attempt: Attempt, { services }: ExecuteJobDependencies): ResolvedService {
  attempt.resolved = services.resolve(attempt.job.serviceName, attempt.job.operation)
  return attempt.resolved
}

/** Step 2: what does not match the operation's schema runs nowhere. */
function checkInput({ job }: Attempt, { rules, name, operation }: ResolvedService): Failure | null {
  const mismatch = rules?.input.check(job.inputJson) ?? null
  if (mismatch === null) return null
  const message = `input_data${mismatch.pointer}: ${mismatch.message} (input_schema of ${name}.${operation})`
  return { category: 'VALIDATION_ERROR', code: 'INPUT_INVALID', message, evidence: null, details: null }
}

/** Step 3: the runner of the service's execution type, with its configuration checked once a version of the registry. */
function selectRunner(
  { executionType, runnerConfig }: ResolvedService,
  { runners }: ExecuteJobDependencies,
): PreparedRunner {
  return runners.prepare(executionType, runnerConfig)
}

/** Step 4: one attempt, under the attempt's abort signal. */
async function run(
  attempt: Attempt,
  service: ResolvedService,
  { runner, config }: PreparedRunner,
  dependencies: ExecuteJobDependencies,
): Promise<RunnerOutcome> {
  const { job, output, redactor } = attempt
  if (service.secrets !== null) redactor.use(service.secrets.redacted)
  const context: ExecutionContext = {
    tenantId: job.tenantId,
    triggeredBy: job.triggeredBy,
    correlationId: job.correlationId,
    securityContextJson: job.securityContextJson,
    signal: attempt.signal,
    onOutput: (stream, bytes) => output.write(stream, bytes),
    registerSecret: (value) => redactor.add([value]),
    resolveDatasets: (digests) => dependencies.resolveDatasets(attempt, digests),
    spoolFolder: attempt.spoolFolder,
  }
  // Who is let out of the isolation is known before it happens, or it does not happen.
  if (service.allowed.exceptions.length > 0) await dependencies.recorder.announce(attempt)
  const outcome = await runner.execute({ ...job, ...boundsOf(attempt, service) }, config, context)
  attempt.hasRun()
  return { ...outcome, logs: [...compareWithRow(attempt, service), ...outcome.logs] }
}

/** What the row asks for, as far as the registry allows it. */
function boundsOf({ job }: Attempt, { rules }: ResolvedService): { timeoutSeconds: number; maxAttempts: number } {
  return {
    timeoutSeconds: Math.min(job.timeoutSeconds, rules?.timeoutSeconds ?? Infinity),
    maxAttempts: Math.min(job.maxAttempts, rules?.maxAttempts ?? Infinity),
  }
}

/** Step 5: the decision, then one fenced write. An attempt that is not ours any more is not written at all. */
async function recordOutcome(
  attempt: Attempt,
  { outcome, artifacts, service }: StoredOutcome,
  dependencies: ExecuteJobDependencies,
): Promise<void> {
  const { stdout, stderr } = await attempt.output.finish()
  const reason = attempt.abortReason
  const { recorder, random } = dependencies
  if (reason === 'cancelled') return recorder.stopped(attempt)
  if (reason === 'lost') return
  if (reason === 'drained' && outcome.verdict.kind !== 'succeeded') return recorder.release(attempt)

  const timestamp = new Date().toISOString()
  const logs = outcome.logs.map((log) => ({ ...log, timestamp }))
  const outputJson = outcome.composeOutput({ stdout, stderr, artifacts })
  const result = {
    outputJson,
    stdout,
    stderr,
    artifacts,
    resourceUsage: outcome.resourceUsage,
    envVersion: outcome.envVersion,
    logs,
    audit: outcome.audit ?? null,
  }
  const verdict = checkOutput(outcome.verdict, outputJson, service)
  switch (verdict.kind) {
    case 'succeeded':
      return recorder.complete(attempt, result)
    case 'failed': {
      const { failure } = verdict
      if (service?.secrets?.canBeRenewed === true && isRefusedSignIn(failure)) dependencies.renewSecrets()
      const maxAttempts = service === null ? attempt.job.maxAttempts : boundsOf(attempt, service).maxAttempts
      const delayMs = retryDelayMs(failure, attempt.job.attempt, maxAttempts, random(), service?.rules?.retry)
      return recorder.fail(attempt, failure, delayMs, result)
    }
    case 'cancelled':
      // A runner that was cancelled from within, without the queue knowing, or never began: the row must not hang.
      dependencies.logger.warn({ jobId: attempt.job.id }, 'the job was not run and is handed back')
      dependencies.pauseClaims()
      return recorder.release(attempt)
  }
}

/** A success whose output breaks the operation's promise is the service's own failure; what it left is kept. */
function checkOutput(verdict: Verdict, outputJson: string | null, service: ResolvedService | null): Verdict {
  const mismatch = verdict.kind === 'succeeded' ? (service?.rules?.output.check(outputJson) ?? null) : null
  if (mismatch === null || service === null) return verdict
  const message = `output_data${mismatch.pointer}: ${mismatch.message} (output_schema of ${service.name}.${service.operation})`
  const failure = {
    category: 'USER_CODE_ERROR',
    code: 'OUTPUT_INVALID',
    message,
    evidence: null,
    details: null,
  } as const
  return { kind: 'failed', failure }
}

/** Whoever can INSERT chooses what a row says, so it is compared and told, and never obeyed. */
function compareWithRow({ job }: Attempt, { rules, executionType, name }: ResolvedService): RunnerOutcome['logs'] {
  if (rules === null) return []
  const logs: RunnerOutcome['logs'] = []
  if (job.executionType !== executionType)
    logs.push({
      // The column's default: a row that names no type says it too, and is as it should be.
      level: job.executionType === 'http' ? 'info' : 'warn',
      message: `the row says execution_type ${job.executionType.slice(0, 63)}; the registry's ${executionType} of service ${name} was used`,
    })
  if (job.runnerConfigJson !== null && !isSameJson(job.runnerConfigJson, rules.statedRunnerConfig))
    logs.push({
      level: 'warn',
      message: `the row carries another runner_config than the registry; the registry's was used`,
    })
  return logs
}

function isSameJson(json: string, canonical: string): boolean {
  // What compares recurses, and a row may be nested deeper than a stack.
  return measureDepth(json) <= MAX_JSON_DEPTH && canonicalJson(JSON.parse(json)) === canonical
}

/** Step 6: nothing of the attempt stays on the worker's disk. */
async function cleanUp(attempt: Attempt): Promise<void> {
  // Most http jobs leave no file: a look costs a tenth of a removal, and no turn of the loop, so that the places of jobs
  // that were recorded together are free together and filled by one claim.
  if (!existsSync(attempt.spoolFolder)) return
  await rm(attempt.spoolFolder, { recursive: true, force: true }).catch(() => {})
}

/** What no further attempt can mend: the job names what this worker's registry does not have. */
const CONFIGURATION_FAULTS: ReadonlySet<string> = new Set([
  'SERVICE_NOT_FOUND',
  'OPERATION_NOT_FOUND',
  'RUNNER_NOT_REGISTERED',
  'CONFIG_INVALID',
])

/** A thrown error is a fault of ours or of the host; it is retried, and its text names no secret and no path of a job. */
function describeFault(
  { redactor }: Attempt,
  error: unknown,
  { storageGuard, logger }: ExecuteJobDependencies,
): RunnerOutcome {
  const code = error instanceof ErgonError ? error.code : 'INTERNAL'
  if (code === 'STORAGE_FULL') storageGuard.reportFull()
  logger.error({ err: redactError(error, redactor) }, 'an attempt failed inside the worker')
  const isConfiguration = CONFIGURATION_FAULTS.has(code)
  const failure: Failure = {
    category: isConfiguration ? 'VALIDATION_ERROR' : 'INTERNAL_ERROR',
    code,
    message:
      error instanceof ErgonError ? error.message : 'The worker failed while it held the job; its log says more.',
    evidence: null,
    details: null,
  }
  return failedOutcome(redactFailure(failure, redactor))
}

/** Nothing ran: a failure and no more. */
function failedOutcome(failure: Failure): RunnerOutcome {
  return {
    verdict: { kind: 'failed', failure },
    composeOutput: () => null,
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
  }
}
