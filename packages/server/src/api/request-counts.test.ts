import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { RequestCounts } from './request-counts.ts'

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

type Counted = { current: number; ttl: number } | undefined
const incr = (counts: RequestCounts, key: string): Counted => {
  let told: Counted
  counts.incr(key, (_, counted) => (told = counted), 60_000)
  return told
}
const read = (counts: RequestCounts, key: string): Counted => {
  let told: Counted
  counts.read(key, (_, counted) => (told = counted))
  return told
}

describe('counted requests', () => {
  it('are told as they were when each was counted', () => {
    const counts = new RequestCounts()
    const told = [incr(counts, 'a'), incr(counts, 'a'), incr(counts, 'b'), incr(counts, 'a')]
    expect(told.map((each) => each?.current)).toEqual([1, 2, 1, 3])
  })

  it('are forgotten a minute after the first, and not later for those between', () => {
    const counts = new RequestCounts()
    incr(counts, 'a')
    vi.advanceTimersByTime(59_999)
    expect(incr(counts, 'a')).toEqual({ current: 2, ttl: 1 })
    expect(read(counts, 'a')).toEqual({ current: 2, ttl: 1 })
    vi.advanceTimersByTime(1)
    expect(read(counts, 'a')).toEqual({ current: 0, ttl: 0 })
    expect(incr(counts, 'a')).toEqual({ current: 1, ttl: 60_000 })
  })

  it('are read without being counted, and apart from those of another limit', () => {
    const counts = new RequestCounts()
    incr(counts, 'a')
    read(counts, 'a')
    expect(read(counts, 'a')?.current).toBe(1)
    expect(read(counts.child(), 'a')?.current).toBe(0)
  })

  it('of too many keys are forgotten from the oldest on', () => {
    const counts = new RequestCounts()
    for (let key = 0; key <= 20_000; key++) incr(counts, String(key))
    expect([read(counts, '0')?.current, read(counts, '1')?.current, read(counts, '20000')?.current]).toEqual([0, 1, 1])
  })
})
