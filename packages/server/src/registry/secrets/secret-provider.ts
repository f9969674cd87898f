/** Where secrets are kept, as the operator who starts workers says it: never a registry, which could choose a program to run. */
export interface SecretStores {
  /** The program of `exec:` references. */
  command: string | null
  /** The server of `vault:` references, and the file with the token that it takes. */
  vaultAddress: string | null
  vaultTokenFile: string | null
}

/** A value as a store gave it. */
export interface ProvidedSecret {
  value: string
  /** When the store says that the value ends, in milliseconds from now; null where it does not say. */
  expiresInMs: number | null
}

/**
 * One kind of store. A further one is a file that makes this, its setting, and a line in `secret-providers.ts`. It runs
 * in the process that starts workers, never in a worker.
 */
export interface SecretProvider {
  /** What its names look like, for people. */
  readonly nameForm: string
  /** Looked at when a registry is checked, before any store is asked. */
  isName(name: string): boolean
  /**
   * The secret of a name. Throws an Error whose words hold neither the value nor anything that the store said, since
   * that may be one; rejects soon once the signal aborts.
   */
  read(name: string, stores: SecretStores, signal: AbortSignal): Promise<ProvidedSecret>
}
