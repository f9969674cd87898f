import type { Failure } from '@ergon/contract'
import type { Verdict } from './decide-outcome.ts'

/** Ways in which a service outside fails us rather than the job: a later attempt may fare better. */
export type UpstreamFault = 'CONNECTION' | 'DNS' | 'TLS' | 'TIMEOUT' | 'PROTOCOL' | 'THROTTLED' | 'STATUS'

/** Statuses by which a server says that the same request may succeed later. */
const TRY_LATER: ReadonlySet<number> = new Set([408, 425, 429])
const TOO_MANY_REQUESTS = 429

/** The verdict on an answer by its status alone; `request` says which request, for people. */
export function decideByStatus(statusCode: number, request: string): Verdict {
  if (statusCode < 400) return { kind: 'succeeded' }
  const evidence = { counter: 'status_code', limit: null, observed: statusCode }
  const details = statusDetails(statusCode)
  const message = `${request} was answered with status ${statusCode}.`
  if (statusCode >= 500 || TRY_LATER.has(statusCode)) {
    const fault: UpstreamFault = statusCode === TOO_MANY_REQUESTS ? 'THROTTLED' : 'STATUS'
    return { kind: 'failed', failure: { ...upstreamFailure(fault, message), evidence, details } }
  }
  const failure = { category: 'USER_CODE_ERROR', code: 'HTTP_STATUS', message, evidence, details } as const
  return { kind: 'failed', failure }
}

/** True when a server refused whoever asked, so that the secret it was shown may be out of date. */
export function isRefusedSignIn({ details }: Failure): boolean {
  return details?.status_code === 401 || details?.status_code === 403
}

/** Where a service's `retry.on_status` looks. */
export function statusDetails(statusCode: number): Failure['details'] {
  return { traceback: null, line: null, column: null, status_code: statusCode }
}

export function upstreamFailure(fault: UpstreamFault, message: string): Failure {
  return { category: 'DEPENDENCY_ERROR', code: `UPSTREAM_${fault}`, message, evidence: null, details: null }
}

/** A runner's own clock ended the job. */
export function wallTimeFailure(limitMs: number, observedMs: number): Failure {
  return {
    category: 'RESOURCE_LIMIT',
    code: 'WALL_TIME',
    message: `The job ran longer than its wall-clock limit and was ended. wall_ms: limit ${limitMs}, observed ${observedMs}.`,
    evidence: { counter: 'wall_ms', limit: limitMs, observed: observedMs },
    details: null,
  }
}
