/** Why a request came to nothing. */
export type Trouble =
  /** It was not sent, or its answer did not come: whether it was done is not known. */
  { kind: 'unreachable' } | { kind: 'status'; status: number; retryAfterMs: number | null }

/** How long one goes on trying. */
export interface RetryBounds {
  /** Tries after the first one. */
  retries: number
  /** From the first failure on, in ms: a try that would come later is not made. */
  patienceMs: number
}

export interface RetryHistory {
  /** Tries that failed, this one among them. */
  failures: number
  /** Since the first of them. */
  elapsedMs: number
}

const BASE_MS = 200
const LONGEST_MS = 5_000

/** Over capacity, or a proxy that does not reach the API: another try may go better. */
const PASSING: readonly number[] = [429, 502, 503, 504]
/** Refused before anything was done. */
const UNDONE: readonly number[] = [429, 503]

/**
 * How long to wait before another try, in ms, or null for none. `isRepeatable`: doing it twice does no harm; what is not
 * is tried again only where the server surely did nothing. `random` gives numbers from 0 to 1.
 */
export function decideRetry(
  trouble: Trouble,
  { failures, elapsedMs }: RetryHistory,
  bounds: RetryBounds,
  isRepeatable: boolean,
  random: () => number,
): number | null {
  if (failures > bounds.retries) return null
  if (trouble.kind === 'unreachable' && !isRepeatable) return null
  if (trouble.kind === 'status' && !(isRepeatable ? PASSING : UNDONE).includes(trouble.status)) return null
  const asked = trouble.kind === 'status' ? (trouble.retryAfterMs ?? 0) : 0
  const delay = asked + backoff(failures, random)
  return elapsedMs + delay > bounds.patienceMs ? null : delay
}

/** A random part of a time that doubles, so that clients which lost one server do not come back together. */
export function backoff(failures: number, random: () => number): number {
  return random() * Math.min(LONGEST_MS, BASE_MS * 2 ** Math.min(failures, 10))
}

/** The header Retry-After in ms: seconds, or a date; null when it is neither. */
export function parseRetryAfter(text: string | null, nowMs: number): number | null {
  if (text === null) return null
  if (/^\d{1,9}$/.test(text.trim())) return Number(text) * 1_000
  const at = Date.parse(text)
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs)
}
