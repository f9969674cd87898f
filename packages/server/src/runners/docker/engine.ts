import Docker from 'dockerode'
import type { EngineConfig } from './engine-config.ts'
import { engineInfoSchema, type EngineInfo, engineVersionSchema, findLacks } from './engine-lacks.ts'
import { SshAgent } from './ssh-agent.ts'
import { sshPlaceOf } from './ssh-place.ts'

const ANSWER_TIMEOUT_MS = 30_000
/** How long an engine that was fit is not asked again. */
const FIT_MS = 60_000

/** The engine does not answer, or cannot isolate: nothing of the job has run. */
export class EngineError extends Error {
  readonly code: 'ENGINE_UNREACHABLE' | 'ENGINE_UNFIT'

  constructor(code: EngineError['code'], message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'EngineError'
    this.code = code
  }
}

/** A container engine that speaks Docker's API, with or without root. */
export class Engine {
  readonly api: Docker
  readonly config: EngineConfig
  readonly #ssh: SshAgent | null
  #fit: { at: number; info: EngineInfo } | null = null

  constructor(config: EngineConfig) {
    this.config = config
    this.#ssh = sshAgentOf(config)
    this.api = new Docker(connectionOf(config, this.#ssh))
  }

  /** Ends what is open to an engine behind SSH; a later call opens it again. */
  close(): void {
    this.#ssh?.destroy()
  }

  /** What the engine says of itself; throws EngineError where it is away or cannot hold a job to its limits. */
  async requireFit(): Promise<EngineInfo> {
    if (this.#fit !== null && performance.now() - this.#fit.at < FIT_MS) return this.#fit.info
    const info = await this.info()
    const lacks = findLacks(info)
    if (lacks.length > 0)
      throw new EngineError(
        'ENGINE_UNFIT',
        `the container engine ${this.config.url} cannot isolate jobs: ${lacks.join('; ')}`,
      )
    this.#fit = { at: performance.now(), info }
    return info
  }

  async info(): Promise<EngineInfo> {
    try {
      const asked: Promise<unknown>[] = [this.api.info(), this.api.version()]
      const [info, version] = await within(ANSWER_TIMEOUT_MS, Promise.all(asked))
      const { ApiVersion, Components: parts } = engineVersionSchema.parse(version)
      const isPodman = (parts ?? []).some(({ Name }) => Name.startsWith('Podman'))
      return { ...engineInfoSchema.parse(info), ApiVersion, isPodman }
    } catch (error) {
      // What the far side said is the reason; the error is only that it hung up.
      const words = this.#ssh?.lastWords ?? ''
      const reason = words === '' ? reasonOf(error) : `${reasonOf(error)}: ${words}`
      throw new EngineError('ENGINE_UNREACHABLE', `the container engine ${this.config.url} did not answer: ${reason}`, {
        cause: error,
      })
    }
  }
}

/** For a call that makes, prepares or asks of one container: what comes later is the reaper's to remove. */
export const CALL_TIMEOUT_MS = 30_000

/** An engine that takes a connection and says nothing must not hold a job for ever. */
export function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => reject(new Error(`no answer in ${ms} ms`)), ms)
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** The status of the engine's answer, or null when there was no answer. */
export function statusOf(error: unknown): number | null {
  const status = error instanceof Error && 'statusCode' in error ? error.statusCode : null
  return typeof status === 'number' ? status : null
}

/** The engine's own words about a refused call, bounded. */
export function reasonOf(error: unknown): string {
  const json = error instanceof Error && 'json' in error ? error.json : null
  const told = typeof json === 'object' && json !== null && 'message' in json ? json.message : null
  const text = typeof told === 'string' ? told : error instanceof Error ? error.message : String(error)
  return text.slice(0, 1_000)
}

function sshAgentOf({ url, ssh }: EngineConfig): SshAgent | null {
  if (!url.startsWith('ssh://')) return null
  const { privateKey = '', knownHosts = '' } = ssh ?? {}
  return new SshAgent({ ...sshPlaceOf(url), privateKey, knownHosts })
}

/** Every place that dockerode would look up in the environment is spelt out. */
function connectionOf({ url, tls }: EngineConfig, ssh: SshAgent | null): Docker.DockerOptions {
  if (url.startsWith('unix://'))
    return { socketPath: url.slice('unix://'.length), host: undefined, port: undefined, protocol: 'http' }
  // The name stands in requests alone: the agent knows where to go.
  if (ssh !== null)
    return { host: 'docker', port: undefined, protocol: 'http', socketPath: undefined, ...{ agent: ssh } }
  const { hostname, port } = new URL(url)
  return { host: hostname, port, protocol: tls === null ? 'http' : 'https', ...tls, socketPath: undefined }
}
