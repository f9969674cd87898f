import type { FastifyRateLimitStore } from '@fastify/rate-limit'

/** Of how many addresses, or tokens, requests are counted; beyond it the counts that began first are forgotten. */
const MAX_COUNTS = 20_000

type Answer = (error: Error | null, counted?: { current: number; ttl: number }) => void

/**
 * Where the limits count. The library's own store answers with the number that it goes on counting in, so that requests
 * that are counted in one turn of the event loop were all told what the last of them made of it, and all refused.
 */
export class RequestCounts implements FastifyRateLimitStore {
  readonly #windows = new Map<string, { count: number; endsAt: number }>()

  incr(key: string, answer: Answer, windowMs = 0): void {
    const now = Date.now()
    let window = this.#windows.get(key)
    if (window === undefined || window.endsAt <= now) {
      this.#windows.delete(key)
      const [oldest] = this.#windows.keys()
      if (this.#windows.size >= MAX_COUNTS && oldest !== undefined) this.#windows.delete(oldest)
      window = { count: 0, endsAt: now + windowMs }
      this.#windows.set(key, window)
    }
    window.count++
    answer(null, { current: window.count, ttl: window.endsAt - now })
  }

  /** What there is, uncounted. */
  read(key: string, answer: Answer): void {
    const window = this.#windows.get(key)
    const leftMs = (window?.endsAt ?? 0) - Date.now()
    answer(null, leftMs > 0 ? { current: window?.count ?? 0, ttl: leftMs } : { current: 0, ttl: 0 })
  }

  child(): RequestCounts {
    return new RequestCounts()
  }
}
