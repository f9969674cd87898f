import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { Principal } from '../principal.ts'
import { RateLimitError } from '../rate-limits.ts'

export interface WaitLimits {
  /** Waiting calls of one token, and of all. */
  perToken: number
  total: number
}

/** As many as streams: with both at their most, connections are left for calls that do not wait. */
const WAIT_LIMITS: WaitLimits = { perToken: 1_000, total: 4_000 }

/** Places become free as jobs end, and a wait takes 50 seconds at most. */
const TRY_AGAIN_SECONDS = 2

/** Every call of this process that waits for the end of a job: each holds a connection and looks at its job. */
export class OpenWaits {
  readonly #limits: WaitLimits
  readonly #counts = new Map<string, number>()
  #total = 0

  constructor(limits: WaitLimits = WAIT_LIMITS) {
    this.#limits = limits
  }

  /** Runs `work` in a place that is kept until it has ended. Throws TOO_MANY_WAITS, WAITS_EXHAUSTED, and has not run it then. */
  async hold<Result>(principal: Principal, work: () => Promise<Result>): Promise<Result> {
    const { tokenId } = principal
    this.#requireRoom(principal)
    this.#total++
    this.#counts.set(tokenId, (this.#counts.get(tokenId) ?? 0) + 1)
    try {
      return await work()
    } finally {
      this.#total--
      const left = (this.#counts.get(tokenId) ?? 1) - 1
      if (left === 0) this.#counts.delete(tokenId)
      else this.#counts.set(tokenId, left)
    }
  }

  #requireRoom({ tokenId, tokenName }: Principal): void {
    const { perToken, total } = this.#limits
    if (this.#total >= total)
      throw new ErgonError(
        'WAITS_EXHAUSTED',
        `${total} calls wait for the end of a job in this API process, as many as may: try again, or ask without wait`,
      )
    if ((this.#counts.get(tokenId) ?? 0) >= perToken)
      throw new RateLimitError(
        `${perToken} calls of the token "${tokenName}" wait for the end of a job, as many as one may have in a process: try again in ${TRY_AGAIN_SECONDS} s, or ask without wait`,
        TRY_AGAIN_SECONDS,
        'TOO_MANY_WAITS',
      )
  }
}
