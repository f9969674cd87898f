import type { Failure } from '@ergon/contract'
import { upstreamFailure, type UpstreamFault } from '../../domain/upstream-verdict.ts'
import { DestinationDenied } from './destination.ts'
import { ConnectTimeout } from './guarded-connector.ts'
import { ResponseTooLarge } from './receive-body.ts'

const MAX_REASON = 300
export const TOO_MANY_REDIRECTS = 'TOO_MANY_REDIRECTS'

/** Which fault a system's or undici's error code stands for; the first that matches. */
const FAULTS: readonly (readonly [pattern: RegExp, fault: UpstreamFault])[] = [
  [/^(ENOTFOUND|ENODATA|EAI_.*|ESERVFAIL|EREFUSED)$/, 'DNS'],
  [/^(UND_ERR_(CONNECT|HEADERS|BODY)_TIMEOUT|ETIMEDOUT)$/, 'TIMEOUT'],
  [/^(ERR_TLS_.*|ERR_SSL_.*|CERT_.*|UNABLE_TO_.*|DEPTH_ZERO_.*|SELF_SIGNED_.*|HOSTNAME_MISMATCH|EPROTO)$/, 'TLS'],
  // undici asserts what a server must keep to, such as a status of at least 100.
  [/^ERR_ASSERTION$/, 'PROTOCOL'],
  [/^(HPE_.*|UND_ERR_HEADERS_OVERFLOW|UND_ERR_RES_.*|Z_.*|ERR_.*BROTLI.*|ERR_PADDING.*|ERR__ERROR_.*)$/, 'PROTOCOL'],
  [/^(ECONN.*|EPIPE|EHOSTUNREACH|EHOSTDOWN|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL)$/, 'CONNECTION'],
  [/^(UND_ERR_SOCKET|UND_ERR_CLOSED|UND_ERR_DESTROYED|ERR_STREAM_PREMATURE_CLOSE)$/, 'CONNECTION'],
]

/** What an exchange's error makes of the job, or null when it is a fault of ours. `request` says which request, for people. */
export function classifyError(error: unknown, request: string): Failure | null {
  if (error instanceof DestinationDenied)
    return {
      category: 'SANDBOX_VIOLATION',
      code: error.code,
      message: `${request} was refused: ${error.message}.`,
      evidence: { counter: 'denied_destinations', limit: 0, observed: 1 },
      details: null,
    }
  if (error instanceof ResponseTooLarge)
    return {
      category: 'RESOURCE_LIMIT',
      code: 'RESPONSE_SIZE',
      message: `The answer to ${request} is larger than allowed. response_bytes: limit ${error.limit}, observed ${error.observed}.`,
      evidence: { counter: 'response_bytes', limit: error.limit, observed: error.observed },
      details: null,
    }
  if (error instanceof ConnectTimeout) return upstreamFailure('TIMEOUT', `${request}: ${error.message}`)
  if (!(error instanceof Error)) return null
  const code = codeOf(error)
  const reason = `${request}: ${error.message.slice(0, MAX_REASON) || code}`
  const isConnecting = 'syscall' in error && error.syscall === 'connect'
  const fault = FAULTS.find(([pattern]) => pattern.test(code))?.[1] ?? (isConnecting ? 'CONNECTION' : undefined)
  if (fault !== undefined) return upstreamFailure(fault, reason)
  if (code !== 'UND_ERR_INVALID_ARG') return null
  return { category: 'VALIDATION_ERROR', code: 'INPUT_INVALID', message: reason, evidence: null, details: null }
}

/** Whether the same request may be answered when it is sent again at once: nothing that the policy or a limit has ended. */
export function isWorthRetrying({ category, code }: Failure): boolean {
  return category === 'DEPENDENCY_ERROR' && code !== TOO_MANY_REDIRECTS
}

function codeOf(error: Error): string {
  if (error instanceof AggregateError && error.errors[0] instanceof Error) return codeOf(error.errors[0])
  if ('code' in error && typeof error.code === 'string') return error.code
  return error.name === 'HTTPParserError' ? 'HPE_UNKNOWN' : ''
}
