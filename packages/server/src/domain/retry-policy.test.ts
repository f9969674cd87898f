import { FAILURE_CATEGORIES } from '@ergon/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEFAULT_RETRY_RULES, retryDelayMs, retryRulesOf } from './retry-policy.ts'

describe('retryDelayMs', () => {
  it.each([
    ['USER_CODE_ERROR', 'X', null],
    ['VALIDATION_ERROR', 'X', null],
    ['RESOURCE_LIMIT', 'WALL_TIME', null],
    ['SANDBOX_VIOLATION', 'X', null],
    ['DEPENDENCY_ERROR', 'MODULE_NOT_FOUND', null],
    ['DEPENDENCY_ERROR', 'UPSTREAM_TIMEOUT', 1000],
    ['INTERNAL_ERROR', 'STORAGE_FULL', 1000],
  ] as const)('%s/%s → %s', (category, code, expected) => {
    expect(retryDelayMs({ category, code }, 1, 3, 1)).toBe(expected)
  })

  it('stops at the last attempt', () => {
    expect(retryDelayMs({ category: 'INTERNAL_ERROR', code: 'X' }, 3, 3, 0)).toBeNull()
  })

  const rules = retryRulesOf({ on_status: [404], on_exit_codes: [3, 75], backoff_seconds: 2, max_backoff_seconds: 5 })
  const where = { traceback: null, line: null, column: null }
  it.each([
    ['USER_CODE_ERROR', { ...where, exit_code: 75 }, 2_000],
    ['USER_CODE_ERROR', { ...where, exit_code: 1 }, null],
    ['USER_CODE_ERROR', { ...where, status_code: 404 }, 2_000],
    ['USER_CODE_ERROR', { ...where, status_code: 403 }, null],
    // An exit code is no status.
    ['USER_CODE_ERROR', { ...where, exit_code: 404 }, null],
    ['USER_CODE_ERROR', null, null],
    // What the program did against its limits stays final, whatever it left with.
    ['RESOURCE_LIMIT', { ...where, exit_code: 75 }, null],
    ['SANDBOX_VIOLATION', { ...where, exit_code: 75 }, null],
    ['VALIDATION_ERROR', { ...where, status_code: 404 }, null],
  ] as const)('a service that lists 404, 3 and 75: %s %j → %s', (category, details, expected) => {
    expect(retryDelayMs({ category, code: 'X', details }, 1, 3, 1, rules)).toBe(expected)
    expect(retryDelayMs({ category, code: 'X', details }, 3, 3, 1, rules)).toBeNull()
    expect(retryDelayMs({ category, code: 'X', details }, 1, 3, 1)).toBeNull()
  })

  it("grows from the service's backoff to its maximum, and starts at once with none", () => {
    const delays = [1, 2, 3, 4].map((n) => retryDelayMs({ category: 'INTERNAL_ERROR', code: 'X' }, n, 9, 1, rules))
    expect(delays).toEqual([2_000, 4_000, 5_000, 5_000])
    expect(
      retryDelayMs({ category: 'INTERNAL_ERROR', code: 'X' }, 4, 9, 1, { ...DEFAULT_RETRY_RULES, backoffMs: 0 }),
    ).toBe(0)
    expect(retryRulesOf(undefined)).toEqual(DEFAULT_RETRY_RULES)
  })

  it('grows, is jittered, and stays between half a second and an hour', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(...FAILURE_CATEGORIES),
        fc.integer({ min: 1, max: 999 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (category, attempt, random) => {
          const delay = retryDelayMs({ category, code: 'UPSTREAM_X' }, attempt, 1000, random)
          if (delay === null) return
          expect(delay).toBeGreaterThanOrEqual(500)
          expect(delay).toBeLessThanOrEqual(3_600_000)
          const next = retryDelayMs({ category, code: 'UPSTREAM_X' }, attempt + 1, 1000, random)
          if (next !== null) expect(next).toBeGreaterThanOrEqual(delay)
        },
      ),
    )
  })
})
