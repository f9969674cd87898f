import { rm } from 'node:fs/promises'
import type { Artifact, Failure } from '@ergon/contract'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import { retryDelayMs } from '../domain/retry-policy.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import type { ResolvedService, ServiceRegistry } from '../registry/service-registry.ts'
import type { ExecutionContext, Runner, RunnerOutcome } from '../runners/runner.ts'
import type { RunnerRegistry } from '../runners/runner-registry.ts'
import type { Attempt } from './attempt.ts'
import type { OutcomeRecorder } from './outcome-recorder.ts'
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
}

async function runToOutcome(attempt: Attempt, dependencies: ExecuteJobDependencies): Promise<StoredOutcome> {
  try {
    const service = resolveService(attempt, dependencies)
    const { runner, config } = selectRunner(service, dependencies)
    const outcome = await run(attempt, runner, config, dependencies)
    const artifacts = await storeArtifacts(outcome.artifacts, dependencies.store)
    return { outcome, artifacts }
  } catch (error) {
    return { outcome: describeFault(error, dependencies), artifacts: [] }
  }
}

/** Step 1: what to run comes from the worker's own registry; what the row says is never obeyed. */
function resolveService(attempt: Attempt, { services }: ExecuteJobDependencies): ResolvedService {
  return services.resolve(attempt.job.serviceName, attempt.job.operation)
}

/** Step 2: the runner of the service's execution type, with its configuration checked. */
function selectRunner(
  service: ResolvedService,
  { runners }: ExecuteJobDependencies,
): { runner: Runner; config: unknown } {
  const runner = runners.get(service.executionType)
  return { runner, config: runner.validateConfig(service.runnerConfig) }
}

/** Step 3: one attempt, under the attempt's abort signal. */
function run(
  attempt: Attempt,
  runner: Runner,
  config: unknown,
  dependencies: ExecuteJobDependencies,
): Promise<RunnerOutcome> {
  const { job, output } = attempt
  const context: ExecutionContext = {
    tenantId: job.tenantId,
    triggeredBy: job.triggeredBy,
    correlationId: job.correlationId,
    securityContextJson: job.securityContextJson,
    signal: attempt.signal,
    onOutput: (stream, bytes) => output.write(stream, bytes),
    resolveDatasets: (digests) => dependencies.resolveDatasets(attempt, digests),
    spoolFolder: attempt.spoolFolder,
  }
  return runner.execute(job, config, context)
}

/** Step 4: the decision, then one fenced write. An attempt that is not ours any more is not written at all. */
async function recordOutcome(
  attempt: Attempt,
  { outcome, artifacts }: StoredOutcome,
  dependencies: ExecuteJobDependencies,
): Promise<void> {
  const { stdout, stderr } = await attempt.output.finish()
  const reason = attempt.abortReason
  if (reason === 'cancelled' || reason === 'lost') return
  const { recorder, random } = dependencies
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
  }
  switch (outcome.verdict.kind) {
    case 'succeeded':
      return recorder.complete(attempt, result)
    case 'failed': {
      const { failure } = outcome.verdict
      const delayMs = retryDelayMs(failure, attempt.job.attempt, attempt.job.maxAttempts, random())
      return recorder.fail(attempt, failure, delayMs, result)
    }
    case 'cancelled':
      // A runner that was cancelled from within, without the queue knowing, or never began: the row must not hang.
      dependencies.logger.warn({ jobId: attempt.job.id }, 'the job was not run and is handed back')
      dependencies.pauseClaims()
      return recorder.release(attempt)
  }
}

/** Step 5: nothing of the attempt stays on the worker's disk. */
async function cleanUp(attempt: Attempt): Promise<void> {
  await rm(attempt.spoolFolder, { recursive: true, force: true }).catch(() => {})
}

/** What no further attempt can mend: the job names what this worker's registry does not have. */
const CONFIGURATION_FAULTS: ReadonlySet<string> = new Set([
  'SERVICE_NOT_FOUND',
  'RUNNER_NOT_REGISTERED',
  'CONFIG_INVALID',
])

/** A thrown error is a fault of ours or of the host; it is retried, and its text names no secret and no path of a job. */
function describeFault(error: unknown, { storageGuard, logger }: ExecuteJobDependencies): RunnerOutcome {
  const code = error instanceof ErgonError ? error.code : 'INTERNAL'
  if (code === 'STORAGE_FULL') storageGuard.reportFull()
  logger.error({ err: error }, 'an attempt failed inside the worker')
  const isConfiguration = CONFIGURATION_FAULTS.has(code)
  const failure: Failure = {
    category: isConfiguration ? 'VALIDATION_ERROR' : 'INTERNAL_ERROR',
    code,
    message:
      error instanceof ErgonError ? error.message : 'The worker failed while it held the job; its log says more.',
    evidence: null,
    details: null,
  }
  return {
    verdict: { kind: 'failed', failure },
    composeOutput: () => null,
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
  }
}
