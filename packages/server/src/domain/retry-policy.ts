import type { Failure, FailureCategory } from '@ergon/contract'

const BASE_DELAY_MS = 1_000
const MAX_DELAY_MS = 3_600_000

/** Whether a new attempt can end differently. `upstream` means: only for codes that begin with UPSTREAM_. */
const RETRIED = {
  USER_CODE_ERROR: 'never',
  VALIDATION_ERROR: 'never',
  RESOURCE_LIMIT: 'never',
  SANDBOX_VIOLATION: 'never',
  DEPENDENCY_ERROR: 'upstream',
  INTERNAL_ERROR: 'always',
} as const satisfies Record<FailureCategory, 'never' | 'upstream' | 'always'>

/** True when the category's rule allows another attempt at all. */
function isRetryable(failure: Pick<Failure, 'category' | 'code'>): boolean {
  const rule = RETRIED[failure.category]
  return rule === 'always' || (rule === 'upstream' && failure.code.startsWith('UPSTREAM_'))
}

/**
 * Milliseconds to wait before the next attempt, or null when this failure is final.
 * Exponential from one second with equal jitter, at most an hour; `random` is in [0, 1).
 */
export function retryDelayMs(
  failure: Pick<Failure, 'category' | 'code'>,
  attempt: number,
  maxAttempts: number,
  random: number,
): number | null {
  if (!isRetryable(failure) || attempt >= maxAttempts) return null
  const exponential = Math.min(MAX_DELAY_MS, BASE_DELAY_MS * 2 ** Math.min(attempt - 1, 22))
  return Math.round(exponential * (0.5 + random / 2))
}
