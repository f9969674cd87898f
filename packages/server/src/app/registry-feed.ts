import type { Logger } from '../platform/logger.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import type { RegistryProfile } from '../registry/parse-registry.ts'

export interface RegistryFeedOptions {
  file: string
  profile: RegistryProfile
  /** Where references and `…_env_var` are looked up: the environment of whoever started this process. */
  env: Readonly<Record<string, string | undefined>>
  /** Of the lanes that the worker serves; other services are asked for no secret. */
  executionTypes: readonly string[]
  /** Rules of `ergon security-check` whose findings the operator lives with. */
  acceptedRisks: readonly string[]
  logger: Logger
  /** Throws when this machine cannot serve a version, which is then refused as one with a fault is. */
  requireHost?: (bundle: RegistryBundle) => Promise<void>
}

/** The registry as a worker is given it: read at start, and again when somebody asks. */
export class RegistryFeed {
  readonly #options: RegistryFeedOptions
  #current: RegistryBundle | null = null

  constructor(options: RegistryFeedOptions) {
    this.#options = options
  }

  /** The version that serves; null before `load`. */
  get current(): RegistryBundle | null {
    return this.#current
  }

  /** Reads the file; throws a RegistryError with all its faults. */
  async load(): Promise<RegistryBundle> {
    // Not imported above: the checker of schemas takes 0.2 s to load, and commands that start no worker need none.
    const { gatherRegistry } = await import('../registry/registry-bundle.ts')
    const { bundle, warnings } = await gatherRegistry(this.#options)
    for (const { line, path, message } of warnings)
      this.#options.logger.warn({ registry: bundle.file, line, path }, message)
    await this.#options.requireHost?.(bundle)
    this.#current = bundle
    return bundle
  }

  /** Reads the file again. A version that is not valid is logged, and null is given: the one before it goes on serving. */
  async reload(): Promise<RegistryBundle | null> {
    const { logger, file } = this.#options
    try {
      const bundle = await this.load()
      logger.info({ registry: file }, 'the service registry was read again')
      return bundle
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      logger.error(
        { registry: file, reason },
        'the new service registry is not valid; the one before it goes on serving',
      )
      return null
    }
  }
}
