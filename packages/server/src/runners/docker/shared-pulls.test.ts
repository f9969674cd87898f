import { describe, expect, it, vi } from 'vitest'
import { SharedPulls } from './shared-pulls.ts'

const LONG_MS = 60_000
const never = new AbortController().signal

/** A pull that ends when it is told, and says whether it was given up. */
function controlled() {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const signals: AbortSignal[] = []
  const begin = (signal: AbortSignal) => {
    signals.push(signal)
    return promise
  }
  return { begin, resolve, reject, signals }
}

describe('pulls that are shared', () => {
  it('begin once for all who wait, and again after the end', async () => {
    const pulls = new SharedPulls(LONG_MS)
    const { begin, resolve, signals } = controlled()
    const waiting = ['a', 'a', 'b'].map((key) => pulls.wait(key, begin, never))
    resolve()
    await Promise.all(waiting)
    expect(signals).toHaveLength(2)
    await pulls.wait('a', begin, never)
    expect(signals).toHaveLength(3)
  })

  it('go on for the others when one gives up', async () => {
    const pulls = new SharedPulls(LONG_MS)
    const { begin, resolve, signals } = controlled()
    const one = new AbortController()
    const [first, second] = [pulls.wait('a', begin, one.signal), pulls.wait('a', begin, never)]
    one.abort(new Error('cancelled'))
    await expect(first).rejects.toThrow('cancelled')
    expect(signals[0]?.aborted).toBe(false)
    resolve()
    await second
  })

  it('end with the last who gives up; whoever comes then begins another', async () => {
    const pulls = new SharedPulls(LONG_MS)
    const { begin, signals } = controlled()
    const stops = [new AbortController(), new AbortController()]
    const waiting = stops.map(({ signal }) => pulls.wait('a', begin, signal))
    for (const stop of stops) stop.abort(new Error('cancelled'))
    await Promise.allSettled(waiting)
    expect(signals[0]?.aborted).toBe(true)
    const later = new AbortController()
    const again = pulls.wait('a', begin, later.signal)
    expect(signals[1]?.aborted).toBe(false)
    later.abort()
    await expect(again).rejects.toThrow('aborted')
  })

  it('have an end of their own, whoever waits', async () => {
    vi.useFakeTimers()
    const pulls = new SharedPulls(1_000)
    const { begin, signals } = controlled()
    const waiting = pulls.wait('a', begin, never)
    await Promise.all([expect(waiting).rejects.toThrow('given up after 1000 ms'), vi.advanceTimersByTimeAsync(1_000)])
    expect(signals[0]?.aborted).toBe(true)
    vi.useRealTimers()
  })

  it('tell everybody why they failed', async () => {
    const pulls = new SharedPulls(LONG_MS)
    const { begin, reject } = controlled()
    const waiting = [pulls.wait('a', begin, never), pulls.wait('a', begin, never)]
    reject(new Error('denied'))
    for (const each of waiting) await expect(each).rejects.toThrow('denied')
  })
})
