import type { Failure } from '@ergon/contract'

/** What is known of an error on the way to a function, whichever library threw it. */
export interface UpstreamError {
  /** Who was asked: the provider's call, or the place where credentials come from. */
  asked: string
  /** Null when no answer came. */
  statusCode: number | null
  /** Node's code of a network error, or the provider's name for its own. */
  code: string
  /** The provider's own words, or empty. */
  message: string
}

const MAX_MESSAGE = 1_000
const THROTTLED = /Throttl|TooManyRequests|RequestLimitExceeded|SlowDown/i
const TRY_LATER: ReadonlySet<number> = new Set([408, 425, 429])

/** Which fault a code of Node or of AWS's library stands for; the first that matches. */
const FAULTS: readonly (readonly [pattern: RegExp, code: string])[] = [
  [/^(ENOTFOUND|ENODATA|EAI_.*|ESERVFAIL|EREFUSED)$/, 'UPSTREAM_DNS'],
  [/^ETIMEDOUT$/, 'UPSTREAM_TIMEOUT'],
  [
    /^(ERR_TLS_.*|ERR_SSL_.*|CERT_.*|UNABLE_TO_.*|DEPTH_ZERO_.*|SELF_SIGNED_.*|HOSTNAME_MISMATCH|EPROTO)$/,
    'UPSTREAM_TLS',
  ],
  [/^HPE_.*$/, 'UPSTREAM_PROTOCOL'],
  [/^(ECONN.*|EPIPE|EHOST.*|ENET.*|EADDRNOTAVAIL|ERR_STREAM_PREMATURE_CLOSE)$/, 'UPSTREAM_CONNECTION'],
  [/^TimeoutError$/, 'UPSTREAM_TIMEOUT'],
]

/** The failure that an error stands for, or null when it is none of network or provider. */
export function describeUpstreamError({ asked, statusCode, code, message }: UpstreamError): Failure | null {
  if (code === 'ADDRESS_DENIED')
    return {
      ...failure('SANDBOX_VIOLATION', code, `${asked} was not reached: ${message}`),
      evidence: { counter: 'denied_destinations', limit: 0, observed: 1 },
    }
  const said = [code, message].filter((part) => part !== '').join(': ')
  if (statusCode === null) {
    const fault = FAULTS.find(([pattern]) => pattern.test(code))?.[1]
    return fault === undefined ? null : failure('DEPENDENCY_ERROR', fault, `${asked} could not be reached: ${said}`)
  }
  const answer = `${asked} answered ${statusCode}${said === '' ? '' : ` (${said})`}`
  const evidence = { counter: 'status_code', limit: null, observed: statusCode }
  if (statusCode === 429 || THROTTLED.test(code))
    return { ...failure('DEPENDENCY_ERROR', 'UPSTREAM_THROTTLED', answer), evidence }
  if (statusCode >= 500 || TRY_LATER.has(statusCode))
    return { ...failure('DEPENDENCY_ERROR', 'UPSTREAM_STATUS', answer), evidence }
  return { ...failure('USER_CODE_ERROR', 'HTTP_STATUS', answer), evidence }
}

function failure(category: Failure['category'], code: string, message: string): Failure {
  return { category, code, message: message.slice(0, MAX_MESSAGE), evidence: null, details: null }
}
