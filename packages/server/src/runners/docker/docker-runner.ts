import { Readable } from 'node:stream'
import type { Failure } from '@ergon/contract'
import type { Container } from 'dockerode'
import { decideOutcome } from '../../domain/decide-outcome.ts'
import { toResourceUsage } from '../../domain/resource-usage.ts'
import type { Logger } from '../../platform/logger.ts'
import type { ExecutionContext, Runner, RunnerJob, RunnerOutcome, StoredOutputs } from '../runner.ts'
import { RunningAttempts } from '../running-attempts.ts'
import { SandboxOutputs } from '../sandboxed/collect-outputs.ts'
import { collectOutput, type Collected } from './collect-output.ts'
import { type ContainerEnd, toEvidence, toLimits } from './container-evidence.ts'
import { jobContainer, OUTPUT_FOLDER, outputFolderBytes } from './container-spec.ts'
import { type DockerConfig, readDockerConfig } from './docker-config.ts'
import { DockerFailure, failureOf } from './docker-failure.ts'
import { type Engine, statusOf, CALL_TIMEOUT_MS, within } from './engine.ts'
import { isLocalEngine } from './engine-config.ts'
import { resolveVolumes } from './host-paths.ts'
import type { ContainerOwner } from './labels.ts'
import { OutputHolders } from './output-holder.ts'
import { ImageResolver, type ResolvedImage } from './resolve-image.ts'
import { runContainer } from './run-container.ts'

const REMOVE_TIMEOUT_MS = 30_000
const COLLECT_TIMEOUT_MS = 60_000

export interface DockerRunnerDependencies {
  engine: Engine
  /** What the database calls itself: whose containers these are on an engine that is shared. */
  instance(): Promise<string>
  /** Places of the host that no container may see, whatever a policy says. */
  forbiddenPaths: readonly string[]
  logger: Logger
}

/** Runs a job in a container of an engine that the operator named, confined as container-spec.ts says. */
export class DockerRunner implements Runner<DockerConfig> {
  readonly displayName = 'Docker Container'
  readonly #dependencies: DockerRunnerDependencies
  readonly #images: ImageResolver
  readonly #holders: OutputHolders
  readonly #running = new RunningAttempts()

  constructor(dependencies: DockerRunnerDependencies) {
    this.#dependencies = dependencies
    this.#images = new ImageResolver(dependencies.engine)
    this.#holders = new OutputHolders(dependencies.engine)
  }

  validateConfig(config: unknown): DockerConfig {
    return readDockerConfig(config)
  }

  execute(job: RunnerJob, config: DockerConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    return this.#running.hold(job.id, context, async (held) => {
      try {
        return await this.#attempt(job, config, held)
      } catch (error) {
        if (held.signal.aborted) return { ...failed(null), verdict: { kind: 'cancelled' } }
        const failure = failureOf(error)
        if (failure === null) throw error
        return failed(failure)
      }
    })
  }

  cancel(jobId: string): boolean {
    return this.#running.cancel(jobId)
  }

  getResourceRequirements({ limits }: DockerConfig) {
    const mib = 1024 * 1024
    return { cpuCores: limits.cpuCores, memoryMb: limits.memoryBytes / mib, diskMb: limits.diskBytes / mib }
  }

  async #attempt(job: RunnerJob, config: DockerConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    const { engine, instance, forbiddenPaths } = this.#dependencies
    // One clock for the whole attempt, pulling the image included: the database's own runs from the claim too.
    const startedAt = performance.now()
    const wallMs = Math.round(Math.min(job.timeoutSeconds, config.timeoutSeconds) * 1_000)
    const info = await engine.requireFit()
    const volumes = () =>
      resolveVolumes(config, {
        isLocal: isLocalEngine(engine.config),
        forbidden: [
          ...forbiddenPaths,
          ...config.registryFiles,
          ...(info.DockerRootDir === undefined ? [] : [info.DockerRootDir]),
          ...socketOf(engine),
        ],
      })
    // What a policy forbids is told before anything is pulled or made.
    await volumes()
    const image = await this.#resolveImage(config, wallMs, context.signal)
    const owner = { instance: await instance(), jobId: job.id, attempt: job.attempt, serviceName: config.serviceName }
    const made: Container[] = []
    try {
      const holder = config.formats === null ? null : await this.#holders.create(config, owner, image.architecture)
      if (holder !== null) made.push(holder)
      const holding = holder === null ? Promise.resolve() : within(CALL_TIMEOUT_MS, holder.start())
      holding.catch(() => {})
      const wanted = jobContainer(config, {
        owner,
        imageId: image.id,
        imageVolumes: image.volumes,
        volumes: await volumes(),
        outputHolderId: holder?.id ?? null,
      })
      const container = await within(CALL_TIMEOUT_MS, engine.api.createContainer(wanted))
      made.push(container)
      await holding
      const end = await runContainer(engine.api, container, {
        inputJson: job.inputJson ?? '{}',
        limits: config.limits,
        startedAt,
        wallMs,
        signal: context.signal,
        onOutput: context.onOutput,
      })
      return await conclude({ config, context, image, holder, end, wallMs })
    } finally {
      // The job's, the last, is removed first, since the folder is the holder's to remove; the holder is killed meanwhile.
      const killed = made.slice(0, -1).map((container) => container.kill().catch(() => {}))
      for (const [index, container] of [...made.entries()].toReversed()) {
        await killed[index]
        await this.#remove(container, owner)
      }
    }
  }

  async #resolveImage(config: DockerConfig, wallMs: number, signal: AbortSignal): Promise<ResolvedImage> {
    const clock = AbortSignal.timeout(wallMs)
    try {
      return await this.#images.resolve(config, AbortSignal.any([signal, clock]))
    } catch (error) {
      if (signal.aborted || !clock.aborted) throw error
      throw new DockerFailure(
        'DEPENDENCY_ERROR',
        'UPSTREAM_IMAGE_PULL',
        `the image ${config.image} was not there within the job's ${wallMs} ms: pull it ahead, or give the operation a longer timeout`,
      )
    }
  }

  /** A container that cannot be removed now is left to the reaper, and told. */
  async #remove(container: Container, { jobId }: ContainerOwner): Promise<void> {
    try {
      await container.remove({ force: true, v: true, abortSignal: AbortSignal.timeout(REMOVE_TIMEOUT_MS) })
    } catch (error) {
      if (statusOf(error) === 404) return
      this.#dependencies.logger.warn(
        { err: error, jobId, container: container.id },
        'a container could not be removed; the reaper tries again',
      )
    }
  }
}

interface EndedRun {
  config: DockerConfig
  context: ExecutionContext
  image: ResolvedImage
  holder: Container | null
  end: ContainerEnd
  wallMs: number
}

async function conclude({ config, context, image, holder, end, wallMs }: EndedRun): Promise<RunnerOutcome> {
  const evidence = toEvidence(end, config.limits)
  const outputs = new SandboxOutputs(context.spoolFolder, config.formats ?? [], context.onOutput)
  // What was killed leaves nothing: its files may be half of what they should be.
  const isCollected = holder !== null && end.killedBy === null
  let collected: Collected = { violations: [], limits: [] }
  try {
    if (isCollected) collected = await collect(holder, config, outputs)
  } finally {
    await outputs.abandon()
  }
  const files = await outputs.collect()
  const verdict = decideOutcome({
    evidence,
    limits: toLimits(config.limits, wallMs),
    violations: [...collected.violations, ...files.violations],
    collectionLimits: collected.limits,
    resultProblem: null,
  })
  const isBreach = verdict.kind === 'failed' && verdict.failure.category === 'SANDBOX_VIOLATION'
  return {
    verdict,
    composeOutput: (stored) => composeOutput(end.exitCode, holder !== null, stored),
    artifacts: isBreach ? [] : files.artifacts,
    resourceUsage: toResourceUsage(evidence, null),
    envVersion: `${config.image.split('@')[0]}@${image.id}`,
    logs: [],
  }
}

async function collect(holder: Container, { limits }: DockerConfig, outputs: SandboxOutputs): Promise<Collected> {
  const signal = AbortSignal.timeout(COLLECT_TIMEOUT_MS)
  const archive = await holder.getArchive({ path: `${OUTPUT_FOLDER}/.`, abortSignal: signal })
  // Not wrapped: whoever gives up reading has to end the engine's answer itself, or the engine waits for a reader.
  if (!(archive instanceof Readable)) throw new Error('the engine gave an archive that is no stream')
  const folderBytes = outputFolderBytes(limits)
  return collectOutput(archive, { ...limits, folderBytes, signal, open: (name) => outputs.openArtifact(name) })
}

/** The contract's {exit_code, stdout}, and what else there is: files only where the service may leave some. */
function composeOutput(
  exitCode: number | null,
  leavesFiles: boolean,
  { stdout, stderr, artifacts }: StoredOutputs,
): string {
  return JSON.stringify({ exit_code: exitCode, stdout, stderr, ...(leavesFiles ? { artifacts } : {}) })
}

function socketOf({ config }: Engine): string[] {
  return isLocalEngine(config) ? [config.url.slice('unix://'.length)] : []
}

function failed(failure: Failure | null): RunnerOutcome {
  const none: Failure = { category: 'INTERNAL_ERROR', code: 'INTERNAL', message: '', evidence: null, details: null }
  return {
    verdict: { kind: 'failed', failure: failure ?? none },
    composeOutput: () => null,
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
  }
}
