import { ERROR_CATALOGUE, type ErrorCode } from '../errors/error-catalogue.ts'
import { ErgonError } from '../errors/ergon-error.ts'

const UNREACHABLE = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'ENOENT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EACCES',
  'EPIPE',
])
/** Wrong password, no such role, no such database, no right to connect. */
const REFUSED = new Set(['28000', '28P01', '3D000', '42501'])
/** Shutting down, starting up, crashed, too many connections. */
const UNAVAILABLE = new Set(['57P01', '57P02', '57P03', '53300'])

/**
 * What a failed connection or statement means to a person; errors it knows nothing better about come back unchanged.
 * `description` says where the database is.
 */
export function translateDatabaseError(error: unknown, description: string): unknown {
  if (!(error instanceof Error) || error instanceof ErgonError) return error
  const ours = fromOurSql(error)
  if (ours !== null) return ours
  const code = codeOf(error)
  const reason = error.message === '' ? code : error.message
  if (
    UNREACHABLE.has(code) ||
    UNAVAILABLE.has(code) ||
    /timeout exceeded|Query read timeout|Connection terminated/i.test(error.message)
  ) {
    return new ErgonError(
      'DATABASE_UNREACHABLE',
      `PostgreSQL at ${description} cannot be reached: ${reason}. Is the server running, and is DATABASE_URL right?`,
      { cause: error },
    )
  }
  if (REFUSED.has(code) && isConnectionPhase(error)) {
    return new ErgonError(
      'DATABASE_REFUSED',
      `PostgreSQL at ${description} refused the connection: ${reason}. Check the user, password and database name of DATABASE_URL`,
      { cause: error },
    )
  }
  return error
}

/** Errors that our SQL raises: SQLSTATE class JB, a message that begins with a code of the catalogue, the remedy as hint. Else null. */
export function fromOurSql(error: unknown): ErgonError | null {
  if (!(error instanceof Error) || !codeOf(error).startsWith('JB')) return null
  const [, code, text] = /^([A-Z_]+): (.*)$/s.exec(error.message) ?? []
  if (code === undefined || text === undefined || !isErrorCode(code)) return null
  const hint = 'hint' in error && typeof error.hint === 'string' ? `. ${error.hint}` : ''
  return new ErgonError(code, text + hint, { cause: error })
}

export function codeOf(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : ''
}

function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(ERROR_CATALOGUE, code)
}

/** The server calls both a refused login and a refused statement by 42501; only the former is fatal. */
function isConnectionPhase(error: Error): boolean {
  return 'severity' in error && error.severity === 'FATAL'
}
