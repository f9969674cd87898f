import { FAILURE_CATEGORIES } from '@ergon/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { retryDelayMs } from './retry-policy.ts'

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
