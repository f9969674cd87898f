import type { Problem } from '@ergon/contract'

/** Places of a request that are wrong, as JSON pointers. */
export type ErrorPlaces = NonNullable<Problem['errors']>

/** Whoever answered was not Ergon: a proxy, say, or another program at that address. */
export const NOT_A_PROBLEM = 'HTTP_ERROR'

interface ApiErrorParts {
  status: number
  code: string
  detail: string
  requestId: string | null
  errors: ErrorPlaces
}

/** The API refused: `code` is one of docs/errors.md, or HTTP_ERROR where the answer was not Ergon's. */
export class ErgonApiError extends Error {
  readonly status: number
  readonly code: string
  /** What is wrong here, the value seen, and what to do. */
  readonly detail: string
  /** Also in the API's logs. */
  readonly requestId: string | null
  readonly errors: ErrorPlaces

  constructor({ status, code, detail, requestId, errors }: ApiErrorParts) {
    super(`${detail} (${code}, HTTP ${status}${requestId === null ? '' : `, request ${requestId}`})`)
    this.name = 'ErgonApiError'
    this.status = status
    this.code = code
    this.detail = detail
    this.requestId = requestId
    this.errors = errors
  }
}

/** The API could not be reached, or went away and did not come back in time; `cause` is the last fault. */
export class ErgonConnectionError extends Error {
  constructor(message: string, options: { cause: unknown }) {
    super(message, options)
    this.name = 'ErgonConnectionError'
  }
}

const MAX_PROBLEM_BYTES = 256 * 1024
const MAX_DETAIL = 300

/** What an answer that is no success says. */
export async function readApiError(response: Response): Promise<ErgonApiError> {
  const { status, headers } = response
  const requestId = headers.get('x-request-id')
  if (response.type === 'opaqueredirect' || (status >= 300 && status < 400))
    return new ErgonApiError({
      status,
      code: NOT_A_PROBLEM,
      detail: `the server redirects${toPlace(headers)}, which a token does not follow: use its final address`,
      requestId,
      errors: [],
    })
  const text = await readText(response)
  const problem = parseProblem(text)
  if (problem !== null)
    return new ErgonApiError({
      status,
      code: problem.code,
      detail: problem.detail,
      requestId: problem.request_id ?? requestId,
      errors: problem.errors ?? [],
    })
  const said = text.trim().slice(0, MAX_DETAIL)
  return new ErgonApiError({
    status,
    code: NOT_A_PROBLEM,
    detail: `the answer is no problem document of Ergon's but ${headers.get('content-type') ?? 'of no type'}${said === '' ? '' : `: ${said}`}`,
    requestId,
    errors: [],
  })
}

function toPlace(headers: Headers): string {
  const location = headers.get('location')
  return location === null ? '' : ` to ${location.slice(0, MAX_DETAIL)}`
}

/** As far as it came, and no further than an error can be long. */
async function readText({ body }: Response): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  try {
    // Not `for await`, which not every browser has for streams.
    const reader = body?.getReader()
    for (;;) {
      const piece = await reader?.read()
      if (piece?.value === undefined) return text
      text += decoder.decode(piece.value, { stream: true })
      if (text.length < MAX_PROBLEM_BYTES) continue
      await reader?.cancel()
      return text
    }
  } catch {
    // The status says enough.
  }
  return text
}

function parseProblem(text: string): (Pick<Problem, 'code' | 'detail'> & Partial<Problem>) | null {
  try {
    const value: unknown = JSON.parse(text)
    return isProblem(value) ? value : null
  } catch {
    return null
  }
}

function isProblem(value: unknown): value is Pick<Problem, 'code' | 'detail'> & Partial<Problem> {
  if (typeof value !== 'object' || value === null) return false
  return 'code' in value && typeof value.code === 'string' && 'detail' in value && typeof value.detail === 'string'
}
