import type { Failure } from '@ergon/contract'
import type { ArtifactStore } from '../../artifacts/artifact-store.ts'
import { decideOutcome } from '../../domain/decide-outcome.ts'
import { deriveSeed } from '../../domain/execution-key.ts'
import { toResourceUsage } from '../../domain/resource-usage.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { SandboxError, type SandboxReport } from '../../sandbox/sandbox.ts'
import type { ExecutionContext, Runner, RunnerJob, RunnerOutcome, StoredOutputs } from '../runner.ts'
import { RunningAttempts } from '../running-attempts.ts'
import { concludeWithoutEvidence, describeRefusals, isRuleBreach, refused } from './conclude.ts'
import { readPayload, validationFailure } from './read-payload.ts'
import { readSandboxConfig, readServiceInput, type SandboxConfig } from './sandbox-config.ts'
import { resolveInputs } from './resolve-inputs.ts'
import type { CollectedOutputs, PreparedRun, RuntimeAdapter } from './runtime-adapter.ts'

interface Dependencies {
  adapters: readonly RuntimeAdapter[]
  store: ArtifactStore
  /** The installed environment for a name or `<name>@<digest>`; throws ENVIRONMENT_NOT_FOUND. */
  resolveEnvironment(nameOrVersion: string): Promise<{ envVersion: string; language: string }>
}

/** Runs job-contract payloads: one sandbox per attempt, the language's adapter around it. */
export class SandboxRunner implements Runner<SandboxConfig> {
  readonly displayName = 'Sandbox'
  readonly #adapters: ReadonlyMap<string, RuntimeAdapter>
  readonly #dependencies: Dependencies
  readonly #running = new RunningAttempts()

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies
    this.#adapters = new Map(dependencies.adapters.map((adapter) => [adapter.language, adapter]))
  }

  /** The built-in service's configuration is its policy; a service of a registry brings its program along. */
  validateConfig(config: unknown): SandboxConfig {
    return readSandboxConfig(config)
  }

  execute(job: RunnerJob, config: SandboxConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    return this.#running.hold(job.id, context, (held) => this.#attempt(job, config, held))
  }

  cancel(jobId: string): boolean {
    return this.#running.cancel(jobId)
  }

  getResourceRequirements() {
    return { cpuCores: 1, memoryMb: 512, diskMb: 256 }
  }

  async #attempt(job: RunnerJob, config: SandboxConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    const { policy } = config
    const reading =
      config.kind === 'payload' ? readPayload(job.inputJson, job.operation, policy) : readServiceInput(job, config)
    if (!reading.ok) return refused(reading.failure)
    const { payload, limits, parametersJson } = reading.read
    const workspace = payload.workspace_id ?? null
    if (workspace !== null && workspace !== context.tenantId) {
      return refused(
        validationFailure(
          'TENANT_MISMATCH',
          `workspace_id is ${workspace}, the row's tenant_id is ${context.tenantId}; they must agree`,
        ),
      )
    }
    const { language } = payload.environment
    const adapter = this.#adapters.get(language)
    if (adapter === undefined || payload.inputs.object.runtime.language !== language) {
      return refused(
        validationFailure(
          'RUNTIME_UNKNOWN',
          `no runtime for environment language "${language}" and code language "${payload.inputs.object.runtime.language}"; runtimes: ${[...this.#adapters.keys()].join(', ')}`,
        ),
      )
    }
    const environment = await this.#findEnvironment(payload.environment.env_version)
    if ('failure' in environment) return refused(environment.failure)
    const inputs = await resolveInputs(payload, this.#dependencies.store, context)
    if (!inputs.ok) return refused(inputs.failure, environment.envVersion)

    const { envVersion } = environment
    const run = adapter.prepare(
      {
        jobId: job.id,
        attempt: job.attempt,
        payload,
        isolation: policy.isolation === 'fresh' ? 'fresh' : payload.environment.isolation,
        seed: deriveSeed({ payload, parametersJson, envVersion, limits }),
        limits: { ...limits, timeout_ms: Math.min(limits.timeout_ms, job.timeoutSeconds * 1_000) },
        policy,
        cpuPercent: config.kind === 'program' ? config.cpuPercent : null,
        parametersJson,
        envVersion,
        datasets: inputs.datasets,
        spoolFolder: context.spoolFolder,
      },
      context.onOutput,
    )
    try {
      const report = await adapter.execute(run, context.signal)
      const outputs = await adapter.collectOutputs(run)
      return conclude(run, report, outputs, environment.envVersion, payload.output_spec)
    } catch (error) {
      if (error instanceof SandboxError) return concludeWithoutEvidence(error, environment.envVersion)
      throw error
    } finally {
      await adapter.cleanup(run)
    }
  }

  async #findEnvironment(nameOrVersion: string): Promise<{ envVersion: string } | { failure: Failure }> {
    try {
      return await this.#dependencies.resolveEnvironment(nameOrVersion)
    } catch (error) {
      if (error instanceof ErgonError && error.code === 'ENVIRONMENT_NOT_FOUND')
        return { failure: validationFailure(error.code, error.message) }
      throw error
    }
  }
}

function conclude(
  { request }: PreparedRun,
  report: SandboxReport,
  outputs: CollectedOutputs,
  envVersion: string,
  spec: { return_stdout: boolean; return_stderr: boolean },
): RunnerOutcome {
  const verdict = decideOutcome({
    evidence: report.evidence,
    limits: request.limits,
    violations: [...report.violations, ...outputs.violations],
    collectionLimits: report.collectionLimits,
    resultProblem: outputs.resultProblem,
  })
  return {
    verdict,
    composeOutput: (stored) => composeOutput(outputs.resultJson, stored, spec),
    // A job that broke the rules of leaving leaves nothing.
    artifacts: isRuleBreach(verdict) ? [] : outputs.artifacts,
    resourceUsage: toResourceUsage(report.evidence, report.isolation),
    audit: { isolation: report.isolation, limits: request.limits },
    envVersion,
    logs: describeRefusals(report, request.limits),
  }
}

/** output_data by text, so that the numbers of result.json reach the table as they were written. */
function composeOutput(
  resultJson: string | null,
  stored: StoredOutputs,
  spec: { return_stdout: boolean; return_stderr: boolean },
): string {
  const stdout = JSON.stringify(spec.return_stdout ? stored.stdout : null)
  const stderr = JSON.stringify(spec.return_stderr ? stored.stderr : null)
  return `{"result_json":${resultJson ?? 'null'},"stdout":${stdout},"stderr":${stderr},"artifacts":${JSON.stringify(stored.artifacts)}}`
}
