import type { Problem } from '@ergon/contract'
import { ERROR_CATALOGUE, type ErrorCode } from '../platform/errors/error-catalogue.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'

/** A refusal with every place of the request that is wrong. */
export class RequestError extends ErgonError {
  readonly places: readonly { pointer: string; message: string }[]

  constructor(code: ErrorCode, message: string, places: readonly { pointer: string; message: string }[]) {
    super(code, message)
    this.places = places
  }
}

/** What a path names is not there: 404, where a body that names it is at fault with the same code. */
export class AbsentError extends ErgonError {}

/** What fastify's own refusals are called here. */
const FASTIFY_CODES: Readonly<Record<string, ErrorCode>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: 'BODY_TOO_LARGE',
  FST_ERR_CTP_INVALID_MEDIA_TYPE: 'MEDIA_TYPE_UNSUPPORTED',
  FST_ERR_CTP_EMPTY_JSON_BODY: 'BODY_INVALID',
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: 'BODY_INVALID',
  FST_ERR_CTP_INVALID_JSON_BODY: 'BODY_INVALID',
  FST_ERR_BAD_URL: 'REQUEST_INVALID',
  FST_ERR_MAX_PARAM_LENGTH: 'REQUEST_INVALID',
}

/** What PostgreSQL refuses of a value that JSON allows. */
const POSTGRES_CODES: Readonly<Record<string, string>> = {
  '22P05': 'the body has the character U+0000 in a text, which PostgreSQL cannot store',
  '22P02': 'the body has a text that is no Unicode (half of a surrogate pair), which PostgreSQL cannot store',
  '54001': 'the body is nested too deeply',
  '22003': 'the body has a number that PostgreSQL cannot store',
  '54000': 'the body is larger than PostgreSQL stores, once its numbers are written out',
}

/** What PostgreSQL refuses of a filter or a time. */
const POSTGRES_REQUEST_CODES: Readonly<Record<string, string>> = {
  '22021': 'a parameter has the character U+0000, which no text in the database has',
  '22007': 'a parameter is a time that PostgreSQL cannot read',
  '22008': 'a parameter is a time that PostgreSQL does not have',
  '22009': 'a parameter has a time zone that PostgreSQL does not have',
}

/** An error as one of the catalogue: what it is not, is a fault of ours. */
export function toErgonError(error: unknown): ErgonError {
  if (error instanceof ErgonError) return error
  const code = codeOf(error)
  const message = error instanceof Error ? error.message : String(error)
  if (Object.hasOwn(FASTIFY_CODES, code)) return new ErgonError(FASTIFY_CODES[code] ?? 'INTERNAL', message)
  if (Object.hasOwn(POSTGRES_CODES, code)) return new ErgonError('BODY_INVALID', POSTGRES_CODES[code] ?? message)
  if (Object.hasOwn(POSTGRES_REQUEST_CODES, code))
    return new ErgonError('REQUEST_INVALID', POSTGRES_REQUEST_CODES[code] ?? message)
  if (code === '57014' || code === '55P03')
    return new ErgonError('DATABASE_UNREACHABLE', 'PostgreSQL did not answer in time', { cause: error })
  return new ErgonError('INTERNAL', message, { cause: error })
}

function codeOf(error: unknown): string {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string'
    ? error.code
    : ''
}

/**
 * What a client is told. Of what goes wrong on our side it learns the code and where to look: messages name hosts,
 * folders and databases.
 */
export function toProblem(error: ErgonError, requestId: string): Problem {
  const { httpStatus, summary: title } = ERROR_CATALOGUE[error.code]
  const status = error instanceof AbsentError ? 404 : httpStatus
  return {
    type: `urn:ergon:error:${error.code}`,
    title,
    status,
    detail: status < 500 ? error.message : `${title} The API's logs have more under the request id ${requestId}.`,
    code: error.code,
    request_id: requestId,
    ...(error instanceof RequestError ? { errors: [...error.places] } : {}),
  }
}
