import type { Logger } from '../platform/logger.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import type { RegistryProfile } from '../registry/parse-registry.ts'
import type { SecretStores } from '../registry/secrets/secret-provider.ts'

export type { RegistryBundle }

export interface RegistryFeedOptions {
  file: string
  profile: RegistryProfile
  /** Where references and `…_env_var` are looked up: the environment of whoever started this process. */
  env: Readonly<Record<string, string | undefined>>
  /** Of the lanes that the worker serves; other services are asked for no secret. */
  executionTypes: readonly string[]
  /** Rules of `ergon security-check` whose findings the operator lives with. */
  acceptedRisks: readonly string[]
  /** Where secrets are asked for that the registry names by provider. */
  secretStores: SecretStores
  logger: Logger
  /** Throws when this machine cannot serve a version, which is then refused as one with a fault is. */
  requireHost?: (bundle: RegistryBundle) => Promise<void>
}

/** The registry as a worker is given it: read at start, and again when somebody asks. */
export class RegistryFeed {
  readonly #options: RegistryFeedOptions
  #current: RegistryBundle | null = null
  #secretsEndAtMs = Infinity

  constructor(options: RegistryFeedOptions) {
    this.#options = options
  }

  /** The version that serves; null before `load`. */
  get current(): RegistryBundle | null {
    return this.#current
  }

  /** When the first secret of a store ends, by this process's clock; infinite where none says so. */
  get secretsEndAtMs(): number {
    return this.#secretsEndAtMs
  }

  /** Reads the file; throws a RegistryError with all its faults. */
  async load(): Promise<RegistryBundle> {
    // Not imported above: the checker of schemas takes 0.2 s to load, and commands that start no worker need none.
    const { gatherRegistry } = await import('../registry/registry-bundle.ts')
    const { bundle, warnings, secretsExpireInMs } = await gatherRegistry(this.#options)
    for (const { line, path, message } of warnings)
      this.#options.logger.warn({ registry: bundle.file, line, path }, message)
    await this.#options.requireHost?.(bundle)
    this.#current = bundle
    this.#secretsEndAtMs = performance.now() + (secretsExpireInMs ?? Infinity)
    return bundle
  }

  /**
   * Asks the stores again for what the present version names, without reading its file. Null when nothing has changed.
   * A secret that cannot be had is logged by its reference, and the value before it goes on serving.
   */
  async renewSecrets(): Promise<RegistryBundle | null> {
    const before = this.#current
    if (before?.vaultSecrets === undefined) return null
    const known = before.vaultSecrets
    const { renewSecrets } = await import('../registry/registry-bundle.ts')
    const { bundle, failures, secretsExpireInMs } = await renewSecrets(before, this.#options.secretStores)
    for (const reason of failures)
      this.#options.logger.error(
        { registry: before.file, reason },
        'a secret could not be renewed; the value before it goes on serving',
      )
    // Another version was read meanwhile, and its secrets with it.
    if (this.#current !== before) return null
    this.#secretsEndAtMs = performance.now() + (secretsExpireInMs ?? Infinity)
    const isChanged = Object.entries(bundle.vaultSecrets ?? {}).some(([name, value]) => known[name] !== value)
    if (!isChanged) return null
    this.#current = bundle
    this.#options.logger.info({ registry: before.file }, 'secrets of the service registry have changed')
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
