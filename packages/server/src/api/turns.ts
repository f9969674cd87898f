import { RateLimitError } from './rate-limits.ts'

/**
 * Lets so many work at a time: streams and lists must not take every connection. Askers have their turn one after the other, each
 * with what they asked for first: whoever asks for much waits behind themselves alone.
 */
export class Turns {
  /** In the order of the askers' next turns; none is empty. */
  readonly #waiting = new Map<string, (() => void)[]>()
  readonly #mostWaiting: number
  #free: number

  constructor(most: number, { mostWaiting = Infinity }: { mostWaiting?: number } = {}) {
    this.#free = most
    this.#mostWaiting = mostWaiting
  }

  /** Throws RATE_LIMITED when as many of the asker's wait as may. */
  async take<Result>(asker: string, work: () => Promise<Result>): Promise<Result> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#wait(asker, resolve))
    try {
      return await work()
    } finally {
      this.#pass()
    }
  }

  #wait(asker: string, begin: () => void): void {
    const own = this.#waiting.get(asker)
    if (own === undefined) this.#waiting.set(asker, [begin])
    else if (own.length < this.#mostWaiting) own.push(begin)
    else
      throw new RateLimitError(
        `${this.#mostWaiting} requests of this token wait for their turn: send fewer at a time`,
        1,
      )
  }

  #pass(): void {
    const [next] = this.#waiting
    if (next === undefined) {
      this.#free++
      return
    }
    const [asker, own] = next
    const begin = own.shift()
    this.#waiting.delete(asker)
    if (own.length > 0) this.#waiting.set(asker, own)
    begin?.()
  }
}
