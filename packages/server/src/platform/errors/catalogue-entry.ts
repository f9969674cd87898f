export interface CatalogueEntry {
  /** Exit code of a CLI command: 2 for a wrong call, 3 for a host or service that is not there, 4 for a fault of ours. */
  exitCode: 2 | 3 | 4
  /** HTTP status the API answers with. */
  httpStatus: number
  /** One sentence for docs/errors.md. */
  summary: string
}
