import { SecretSet } from '../platform/text/secret-set.ts'

/** The secrets a service names. Nothing that prints, logs or serialises an object shows what this holds. */
export class SecretSource {
  readonly #variables: ReadonlyMap<string, string>
  readonly #files: ReadonlyMap<string, string>
  /** Every value that must not appear in output, logs or errors of a service, with its forms once somebody looks for them. */
  readonly redacted: SecretSet

  constructor({ variables, secretFiles }: { variables: Record<string, string>; secretFiles: Record<string, string> }) {
    this.#variables = new Map(Object.entries(variables))
    this.#files = new Map(Object.entries(secretFiles))
    this.redacted = new SecretSet([...this.#variables.values(), ...this.#files.values()])
  }

  /** The value of `<prefix>_env_var` or `<prefix>_file` of a configuration, or null when it names neither. */
  read(config: Readonly<Record<string, unknown>>, prefix: string): string | null {
    const variable = config[`${prefix}_env_var`]
    const file = config[`${prefix}_file`]
    if (typeof variable === 'string') return this.#variables.get(variable) ?? null
    return typeof file === 'string' ? (this.#files.get(file) ?? null) : null
  }
}
