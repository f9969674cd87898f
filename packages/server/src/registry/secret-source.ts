import { SecretSet } from '../platform/text/secret-set.ts'

interface SecretValues {
  variables: Record<string, string>
  secretFiles: Record<string, string>
  /** Of stores, by their references. */
  vaultSecrets?: Record<string, string>
}

/** The secrets a service names. Nothing that prints, logs or serialises an object shows what this holds. */
export class SecretSource {
  readonly #variables: ReadonlyMap<string, string>
  readonly #files: ReadonlyMap<string, string>
  readonly #vault: ReadonlyMap<string, string>
  /** Every value that must not appear in output, logs or errors of a service, with its forms once somebody looks for them. */
  readonly redacted: SecretSet

  constructor({ variables, secretFiles, vaultSecrets = {} }: SecretValues) {
    this.#variables = new Map(Object.entries(variables))
    this.#files = new Map(Object.entries(secretFiles))
    this.#vault = new Map(Object.entries(vaultSecrets))
    this.redacted = new SecretSet([...this.#variables.values(), ...this.#files.values(), ...this.#vault.values()])
  }

  /** True when a store may have another value by now. */
  get canBeRenewed(): boolean {
    return this.#vault.size > 0
  }

  /** The value of `<prefix>_env_var`, `<prefix>_file` or `<prefix>_vault` of a configuration, or null when it names none. */
  read(config: Readonly<Record<string, unknown>>, prefix: string): string | null {
    for (const [suffix, values] of [
      ['env_var', this.#variables],
      ['file', this.#files],
      ['vault', this.#vault],
    ] as const) {
      const name = config[`${prefix}_${suffix}`]
      if (typeof name === 'string') return values.get(name) ?? null
    }
    return null
  }
}
