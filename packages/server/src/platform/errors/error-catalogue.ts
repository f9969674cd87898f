interface CatalogueEntry {
  /** Exit code of a CLI command: 2 for a wrong call, 3 for a host or service that is not there, 4 for a fault of ours. */
  exitCode: 2 | 3 | 4
  /** HTTP status the API answers with. */
  httpStatus: number
  /** One sentence for docs/errors.md. */
  summary: string
}

/** Every code a person can meet. Codes are never reused; a test keeps docs/errors.md in step. */
export const ERROR_CATALOGUE = {
  INTERNAL: { exitCode: 4, httpStatus: 500, summary: 'A fault of Ergon itself.' },
} as const satisfies Record<string, CatalogueEntry>
export type ErrorCode = keyof typeof ERROR_CATALOGUE
