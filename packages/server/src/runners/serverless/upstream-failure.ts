import type { Failure } from '@ergon/contract'
import { statusDetails, upstreamFailure, type UpstreamFault } from '../../domain/upstream-verdict.ts'

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
const FAULTS: readonly (readonly [pattern: RegExp, fault: UpstreamFault])[] = [
  [/^(ENOTFOUND|ENODATA|EAI_.*|ESERVFAIL|EREFUSED)$/, 'DNS'],
  [/^ETIMEDOUT$/, 'TIMEOUT'],
  [/^(ERR_TLS_.*|ERR_SSL_.*|CERT_.*|UNABLE_TO_.*|DEPTH_ZERO_.*|SELF_SIGNED_.*|HOSTNAME_MISMATCH|EPROTO)$/, 'TLS'],
  [/^(HPE_.*|UNEXPECTED_UPGRADE)$/, 'PROTOCOL'],
  [/^(ECONN.*|EPIPE|EHOST.*|ENET.*|EADDRNOTAVAIL|ERR_STREAM_PREMATURE_CLOSE)$/, 'CONNECTION'],
  [/^TimeoutError$/, 'TIMEOUT'],
]

/** The failure that an error stands for, or null when it is none of network or provider. */
export function describeUpstreamError({ asked, statusCode, code, message }: UpstreamError): Failure | null {
  const bounded = (text: string): string => text.slice(0, MAX_MESSAGE)
  if (code === 'ADDRESS_DENIED')
    return {
      category: 'SANDBOX_VIOLATION',
      code,
      message: bounded(`${asked} was not reached: ${message}`),
      evidence: { counter: 'denied_destinations', limit: 0, observed: 1 },
      details: null,
    }
  const said = [code, message].filter((part) => part !== '').join(': ')
  if (statusCode === null) {
    const fault = FAULTS.find(([pattern]) => pattern.test(code))?.[1]
    return fault === undefined ? null : upstreamFailure(fault, bounded(`${asked} could not be reached: ${said}`))
  }
  const answer = bounded(`${asked} answered ${statusCode}${said === '' ? '' : ` (${said})`}`)
  const evidence = { counter: 'status_code', limit: null, observed: statusCode }
  const details = statusDetails(statusCode)
  if (statusCode === 429 || THROTTLED.test(code)) return { ...upstreamFailure('THROTTLED', answer), evidence, details }
  // Below 200 there is no answer: Node gives what is no status of HTTP as it came, and libraries take it for a success.
  if (statusCode < 200) {
    const told = bounded(`${asked} answered ${statusCode}, which is no status of an answer`)
    return { ...upstreamFailure('PROTOCOL', told), evidence }
  }
  if (statusCode >= 500 || TRY_LATER.has(statusCode)) return { ...upstreamFailure('STATUS', answer), evidence, details }
  return { category: 'USER_CODE_ERROR', code: 'HTTP_STATUS', message: answer, evidence, details }
}
