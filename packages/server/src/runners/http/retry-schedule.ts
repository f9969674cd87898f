/** Which answers are asked for again within one attempt of a job, and after how long. */
export interface InnerRetries {
  maxRetries: number
  backoffSeconds: number
  statusCodes: ReadonlySet<number>
}

const MAX_BACKOFF_MS = 60_000

export interface RetryQuestion {
  /** Null: there was no answer, the connection failed. */
  statusCode: number | null
  /** The Retry-After header, as it came. */
  retryAfter: string | null
  /** How often this request was sent again already. */
  retriesDone: number
  /** What is left of the time for the whole. */
  remainingMs: number
  /** By the wall clock, since Retry-After may be a date. */
  nowMs: number
  /** In [0, 1). */
  random: number
}

/**
 * Milliseconds to wait before the request is sent again, or null: never. What the server asks for is kept, however long,
 * and when there is no time for it the answer stands: to come back sooner is what it asked us not to do.
 */
export function innerRetryDelayMs(question: RetryQuestion, retries: InnerRetries): number | null {
  const { statusCode, retriesDone, remainingMs, random } = question
  if (retriesDone >= retries.maxRetries) return null
  if (statusCode !== null && !retries.statusCodes.has(statusCode)) return null
  const backoffMs = Math.min(MAX_BACKOFF_MS, retries.backoffSeconds * 1_000 * 2 ** Math.min(retriesDone, 20))
  const askedMs = readRetryAfter(question.retryAfter, question.nowMs)
  const delayMs = Math.max(askedMs ?? 0, Math.round(backoffMs * (0.5 + random / 2)))
  return delayMs < remainingMs ? delayMs : null
}

/** Seconds or a date, in milliseconds from now; null when it is neither. */
function readRetryAfter(text: string | null, nowMs: number): number | null {
  if (text === null) return null
  const trimmed = text.trim()
  if (/^\d{1,9}$/.test(trimmed)) return Number(trimmed) * 1_000
  // Only the forms that HTTP knows: Date.parse takes far more for a date.
  if (!/^[A-Z][a-z]{2,8},? /.test(trimmed) || trimmed.length > 40) return null
  const at = Date.parse(trimmed)
  return Number.isNaN(at) ? null : Math.max(0, at - nowMs)
}
