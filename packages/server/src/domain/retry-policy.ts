import type { Failure, FailureCategory } from '@ergon/contract'

/** A service's own word on its failures: which of those that are final elsewhere are tried again, and how soon. */
export interface RetryRules {
  /** HTTP statuses, of failures that carry `details.status_code`. */
  onStatus: readonly number[]
  /** Exit codes, of failures that carry `details.exit_code`. */
  onExitCodes: readonly number[]
  /** Before the second attempt; it doubles from there, up to the maximum. */
  backoffMs: number
  maxBackoffMs: number
}

export const DEFAULT_RETRY_RULES: RetryRules = {
  onStatus: [],
  onExitCodes: [],
  backoffMs: 1_000,
  maxBackoffMs: 3_600_000,
}

/** The `retry` section of a service. */
export function retryRulesOf(
  section:
    | { on_status: number[]; on_exit_codes: number[]; backoff_seconds: number; max_backoff_seconds: number }
    | undefined,
): RetryRules {
  if (section === undefined) return DEFAULT_RETRY_RULES
  return {
    onStatus: section.on_status,
    onExitCodes: section.on_exit_codes,
    backoffMs: section.backoff_seconds * 1_000,
    maxBackoffMs: section.max_backoff_seconds * 1_000,
  }
}

/** Whether a new attempt can end differently. `upstream` means: only for codes that begin with UPSTREAM_. */
const RETRIED = {
  USER_CODE_ERROR: 'never',
  VALIDATION_ERROR: 'never',
  RESOURCE_LIMIT: 'never',
  SANDBOX_VIOLATION: 'never',
  DEPENDENCY_ERROR: 'upstream',
  INTERNAL_ERROR: 'always',
} as const satisfies Record<FailureCategory, 'never' | 'upstream' | 'always'>

type RetriedFailure = Pick<Failure, 'category' | 'code'> & Partial<Pick<Failure, 'details'>>

/** True when the category's rule, or the service's own, allows another attempt at all. */
function isRetryable(failure: RetriedFailure, rules: RetryRules): boolean {
  const rule = RETRIED[failure.category]
  return rule === 'always' || (rule === 'upstream' && failure.code.startsWith('UPSTREAM_')) || isListed(failure, rules)
}

/** Only of failures that are the other side's answer: no list of a service turns a limit or a violation into a retry. */
function isListed({ category, details }: RetriedFailure, { onStatus, onExitCodes }: RetryRules): boolean {
  if (category !== 'USER_CODE_ERROR') return false
  const { status_code: status, exit_code: exitCode } = details ?? {}
  return (
    (status !== undefined && onStatus.includes(status)) || (exitCode !== undefined && onExitCodes.includes(exitCode))
  )
}

/**
 * Milliseconds to wait before the next attempt, or null when this failure is final.
 * Exponential from the service's backoff with equal jitter, at most its maximum; `random` is in [0, 1).
 */
export function retryDelayMs(
  failure: RetriedFailure,
  attempt: number,
  maxAttempts: number,
  random: number,
  rules: RetryRules = DEFAULT_RETRY_RULES,
): number | null {
  if (!isRetryable(failure, rules) || attempt >= maxAttempts) return null
  const exponential = Math.min(rules.maxBackoffMs, rules.backoffMs * 2 ** Math.min(attempt - 1, 22))
  return Math.round(exponential * (0.5 + random / 2))
}
