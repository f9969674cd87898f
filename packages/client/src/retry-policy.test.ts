import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { backoff, decideRetry, parseRetryAfter, type Trouble } from './retry-policy.ts'

const BOUNDS = { retries: 5, patienceMs: 120_000 }
const status = (code: number, retryAfterMs: number | null = null): Trouble => ({
  kind: 'status',
  status: code,
  retryAfterMs,
})
const decide = (trouble: Trouble, { failures = 1, elapsedMs = 0, isRepeatable = true, chance = 0.5 } = {}) =>
  decideRetry(trouble, { failures, elapsedMs }, BOUNDS, isRepeatable, () => chance)

describe('what is tried again', () => {
  test.each([429, 502, 503, 504])('%d, in a while', (code) => {
    expect(decide(status(code))).toBe(200)
  })

  test.each([400, 401, 403, 404, 409, 413, 422, 500, 501])('%d, never', (code) => {
    expect(decide(status(code))).toBeNull()
  })

  test('what must not be done twice, only where it was surely not done', () => {
    const isRepeatable = false
    expect(decide(status(429), { isRepeatable })).not.toBeNull()
    expect(decide(status(503), { isRepeatable })).not.toBeNull()
    expect(decide(status(502), { isRepeatable })).toBeNull()
    expect(decide(status(504), { isRepeatable })).toBeNull()
    expect(decide({ kind: 'unreachable' }, { isRepeatable })).toBeNull()
  })

  test('as often as was said, and no longer than was said', () => {
    expect(decide({ kind: 'unreachable' }, { failures: 5 })).not.toBeNull()
    expect(decide({ kind: 'unreachable' }, { failures: 6 })).toBeNull()
    expect(decide({ kind: 'unreachable' }, { elapsedMs: 119_000, chance: 0 })).toBe(0)
    expect(decide({ kind: 'unreachable' }, { elapsedMs: 120_001, chance: 0 })).toBeNull()
  })

  test('not before the server said, and not at all when that is too late', () => {
    expect(decide(status(429, 30_000))).toBe(30_200)
    expect(decide(status(503, 3_600_000))).toBeNull()
  })
})

test('the time between tries doubles up to five seconds, and chance takes any part of it', () => {
  expect([1, 2, 3, 4, 5, 6, 100].map((failures) => backoff(failures, () => 1))).toEqual([
    400, 800, 1_600, 3_200, 5_000, 5_000, 5_000,
  ])
  fc.assert(
    fc.property(fc.nat(), fc.double({ min: 0, max: 1, noNaN: true }), (failures, chance) => {
      const ms = backoff(failures, () => chance)
      expect(ms).toBeGreaterThanOrEqual(0)
      expect(ms).toBeLessThanOrEqual(5_000)
    }),
  )
})

test.each([
  [null, null],
  ['7', 7_000],
  ['Sun, 22 Nov 2026 12:00:10 GMT', 10_000],
  ['Sun, 22 Nov 2026 11:00:00 GMT', 0],
  ['soon', null],
  ['-1 and more', null],
])('Retry-After: %s', (text, ms) => {
  expect(parseRetryAfter(text, Date.parse('2026-11-22T12:00:00Z'))).toBe(ms)
})
