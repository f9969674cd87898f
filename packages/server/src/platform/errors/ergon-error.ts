import { ERROR_CATALOGUE, type ErrorCode } from './error-catalogue.ts'

/** An error meant for a person: its message says what, where, the value seen and what to do; its code is in the catalogue. */
export class ErgonError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'ErgonError'
    this.code = code
  }

  /** The process exit code a CLI command ends with when this error reaches the top. */
  get exitCode(): number {
    return ERROR_CATALOGUE[this.code].exitCode
  }
}
