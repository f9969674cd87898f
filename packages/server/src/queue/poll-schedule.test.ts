import { describe, expect, it } from 'vitest'
import { delayBeforeLook } from './poll-schedule.ts'

describe('delayBeforeLook', () => {
  it('looks again soon, then ten times a second', () => {
    expect([0, 1, 2, 3, 4, 5, 1_000].map((looks) => delayBeforeLook(looks, 0.5))).toEqual([
      5, 10, 20, 50, 100, 100, 100,
    ])
  })

  it('spreads by a quarter to each side', () => {
    expect(delayBeforeLook(9, 0)).toBe(75)
    expect(delayBeforeLook(9, 0.999)).toBeLessThan(125)
  })
})
