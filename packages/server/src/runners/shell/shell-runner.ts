import type { ArtifactStore } from '../../artifacts/artifact-store.ts'
import { decideOutcome } from '../../domain/decide-outcome.ts'
import { toSandboxLimits } from '../../domain/limits.ts'
import { toResourceUsage } from '../../domain/resource-usage.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import {
  type Sandbox,
  SandboxError,
  type SandboxFile,
  type SandboxReport,
  type SandboxRequest,
  type SandboxRuntime,
} from '../../sandbox/sandbox.ts'
import type { ExecutionContext, Runner, RunnerJob, RunnerOutcome, StoredOutputs } from '../runner.ts'
import { RunningAttempts } from '../running-attempts.ts'
import { SandboxOutputs } from '../sandboxed/collect-outputs.ts'
import { concludeWithoutEvidence, describeRefusals, isRuleBreach, refused } from '../sandboxed/conclude.ts'
import { validationFailure } from '../sandboxed/read-payload.ts'
import { resolveDatasets } from '../sandboxed/resolve-inputs.ts'
import type { CollectedOutputs } from '../sandboxed/runtime-adapter.ts'
import { findCommand } from './find-command.ts'
import { findFolder } from './find-folder.ts'
import { limitsOf, readShellConfig, type ShellConfig } from './shell-config.ts'
import { readCall, type ShellCall } from './shell-input.ts'

interface Dependencies {
  sandbox: Sandbox
  runtime: SandboxRuntime
  /** What a sandbox may use of the machine at the most, 100 being one core. */
  cpuPercent: number
  store: ArtifactStore
  /** The installed environment for a name or `<name>@<digest>`; throws ENVIRONMENT_NOT_FOUND. */
  resolveEnvironment(nameOrVersion: string): Promise<{ envVersion: string; rootFs: string }>
}

/** Runs one command of an environment, with its arguments as they are, in a container of its own: never on the host. */
export class ShellRunner implements Runner<ShellConfig> {
  readonly displayName = 'Shell Script'
  readonly #dependencies: Dependencies
  readonly #running = new RunningAttempts()

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies
  }

  validateConfig(config: unknown): ShellConfig {
    return readShellConfig(config)
  }

  execute(job: RunnerJob, config: ShellConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    return this.#running.hold(job.id, context, (held) => this.#attempt(job, config, held))
  }

  cancel(jobId: string): boolean {
    return this.#running.cancel(jobId)
  }

  getResourceRequirements(config: ShellConfig) {
    const { memory_mb: memoryMb = 512, disk_mb: diskMb = 1_024 } = config.stated
    return { cpuCores: config.cpuPercent === null ? 1 : config.cpuPercent / 100, memoryMb, diskMb }
  }

  async #attempt(job: RunnerJob, config: ShellConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    const reading = readCall(job.inputJson, config)
    if (!reading.ok) return refused(reading.failure)
    const { call } = reading
    const environment = await this.#findEnvironment(config.sandboxEnvironment)
    if ('failure' in environment) return refused(environment.failure)
    const { envVersion, rootFs } = environment
    const command = await findCommand(rootFs, config.allowedCommands, call.command)
    if (!command.ok) return refused(command.failure, envVersion)
    const folder = await findFolder(rootFs, config.folder, call.folder)
    if (!folder.ok) return refused(folder.failure, envVersion)
    const reserved = call.files.map(({ name }) => [name, 'a file of the call'] as const)
    const inputs = await resolveDatasets(call.datasets, reserved, this.#dependencies.store, context)
    if (!inputs.ok) return refused(inputs.failure, envVersion)

    const request = this.#request(job, config, call, { envVersion, cwd: folder.folder, datasets: inputs.datasets })
    const outputs = new SandboxOutputs(context.spoolFolder, config.formats, context.onOutput)
    try {
      const report = await this.#dependencies.sandbox.run(request, outputs, context.signal)
      return conclude(request, report, await outputs.collect())
    } catch (error) {
      if (error instanceof SandboxError) return concludeWithoutEvidence(error, envVersion)
      throw error
    } finally {
      await outputs.abandon()
    }
  }

  async #findEnvironment(nameOrVersion: string) {
    try {
      return await this.#dependencies.resolveEnvironment(nameOrVersion)
    } catch (error) {
      if (error instanceof ErgonError && error.code === 'ENVIRONMENT_NOT_FOUND')
        return { failure: validationFailure(error.code, error.message) }
      throw error
    }
  }

  #request(
    job: RunnerJob,
    config: ShellConfig,
    call: ShellCall,
    { envVersion, cwd, datasets }: { envVersion: string; cwd: string; datasets: readonly SandboxFile[] },
  ): SandboxRequest {
    const script = call.script === null ? [] : [textFile('code/script', call.script)]
    const cpuPercent = Math.min(config.cpuPercent ?? Infinity, this.#dependencies.cpuPercent)
    return {
      id: `${job.id}-${job.attempt}`,
      environment: envVersion,
      runtime: this.#dependencies.runtime,
      isolation: 'fresh',
      // A script is a file that the shell is given, and what follows are its positional arguments: none is ever parsed.
      entry: {
        kind: 'exec',
        argv: [call.command, ...script.map(({ path }) => `/workspace/${path}`), ...call.args],
        cwd,
      },
      env: { ...config.variables },
      seed: null,
      network: config.network,
      workspace: config.fileAccess === 'read_write' ? 'read_write' : 'read_only',
      limits: toSandboxLimits(limitsOf(config, job.timeoutSeconds), cpuPercent),
      onOutputLimit: 'kill',
      files: [...script, ...call.files.map(({ name, text }) => textFile(`input/${name}`, text)), ...datasets],
    }
  }
}

function conclude(request: SandboxRequest, report: SandboxReport, outputs: CollectedOutputs): RunnerOutcome {
  const { evidence } = report
  const verdict = decideOutcome({
    evidence,
    limits: request.limits,
    violations: [...report.violations, ...outputs.violations],
    // A command has no result.json; a file of that name is its own affair.
    collectionLimits: report.collectionLimits.filter(({ counter }) => counter !== 'result_bytes'),
    resultProblem: null,
  })
  const exitCode = evidence.exit.kind === 'exited' ? evidence.exit.code : null
  return {
    verdict,
    composeOutput: ({ stdout, stderr }: StoredOutputs) => JSON.stringify({ exit_code: exitCode, stdout, stderr }),
    artifacts: isRuleBreach(verdict) ? [] : outputs.artifacts,
    resourceUsage: toResourceUsage(evidence, report.isolation),
    envVersion: request.environment,
    logs: [...describeException(request.network), ...describeRefusals(report, request.limits)],
  }
}

/** What a policy allows beyond the rule leaves a record in each job that had it. */
function describeException(network: SandboxRequest['network']): RunnerOutcome['logs'] {
  if (network.level !== 'uplink') return []
  const beside = network.networks.length === 0 ? '' : `, and ${network.networks.join(', ')}`
  return [{ level: 'info', message: `network_access is all: the job could reach public addresses${beside}` }]
}

function textFile(path: string, text: string): SandboxFile {
  const bytes = Buffer.from(text, 'utf8')
  return { path, sizeBytes: bytes.length, read: () => [bytes] }
}
