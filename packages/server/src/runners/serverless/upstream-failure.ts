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
const NETWORK =
  /^(E[A-Z]+|EAI_[A-Z]+|UND_ERR_[A-Z_]+|ERR_TLS_[A-Z_]+|ERR_SSL_[A-Z_]+|HPE_[A-Z_]+|CERT_[A-Z_]+|DEPTH_ZERO_[A-Z_]+|SELF_SIGNED_[A-Z_]+|UNABLE_TO_[A-Z_]+|ERR_STREAM_PREMATURE_CLOSE|TimeoutError)$/

/** The failure that an error stands for, or null when it is none of network or provider. */
export function describeUpstreamError(error: UpstreamError): Failure | null {
  const { asked, statusCode, code } = error
  if (code === 'ADDRESS_REFUSED')
    return failure('SANDBOX_VIOLATION', 'ADDRESS_REFUSED', `${asked} was not reached: ${error.message}`)
  const said = [code, error.message].filter((part) => part !== '').join(': ')
  if (statusCode === null) {
    if (!NETWORK.test(code)) return null
    return failure('DEPENDENCY_ERROR', 'UPSTREAM_UNREACHABLE', `${asked} could not be reached: ${said}`)
  }
  const answer = `${asked} answered ${statusCode}${said === '' ? '' : ` (${said})`}`
  if (statusCode === 429 || THROTTLED.test(code)) return failure('DEPENDENCY_ERROR', 'UPSTREAM_THROTTLED', answer)
  if (statusCode >= 500 || statusCode === 408 || statusCode === 425)
    return failure('DEPENDENCY_ERROR', 'UPSTREAM_UNAVAILABLE', answer)
  return failure('USER_CODE_ERROR', 'UPSTREAM_REFUSED', answer)
}

function failure(category: Failure['category'], code: string, message: string): Failure {
  return { category, code, message: message.slice(0, MAX_MESSAGE), evidence: null, details: null }
}
