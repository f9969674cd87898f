import rateLimit from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { ApiApp } from './api-app.ts'
import type { Principal } from './principal.ts'
import { RequestCounts } from './request-counts.ts'
import type { LookUpGuard } from './token-directory.ts'

/** Requests a minute of one token that says nothing else, and of one address without a good one; for each API process. */
const TOKEN_LIMIT = 60_000
const ADDRESS_LIMIT = 600
/** How many tokens that are not known are looked up in a second for an address that is over its limit. */
const SPARE_LOOK_UPS = 5

/** Says when it is over, for the header Retry-After. */
export class RateLimitError extends ErgonError {
  readonly retryAfterSeconds: number

  constructor(message: string, retryAfterSeconds: number, code: 'RATE_LIMITED' | 'TOO_MANY_WAITS' = 'RATE_LIMITED') {
    super(code, message)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

export interface RateLimit {
  /** Counts a request for its token, or for its address where there is none; throws RATE_LIMITED. */
  count(request: FastifyRequest, principal: Principal | null): Promise<void>
  /** Keeps tokens that an address guesses from the database once it is over its limit; throws RATE_LIMITED. */
  guardLookUp(request: FastifyRequest): LookUpGuard
}

export async function createRateLimit(app: ApiApp): Promise<RateLimit> {
  await app.register(rateLimit, { global: false, timeWindow: 60_000, store: RequestCounts })
  // Of IPv6 a whole /64 counts as one address, which is what one caller has.
  const byAddress = app.createRateLimit({ max: ADDRESS_LIMIT })
  const bySpare = app.createRateLimit({ max: SPARE_LOOK_UPS, timeWindow: 1_000 })
  const byToken = app.createRateLimit({
    max: ({ caller }) => caller?.principal.rateLimitPerMinute ?? TOKEN_LIMIT,
    keyGenerator: ({ caller }) => caller?.principal.tokenId ?? '',
  })
  /** Look-ups under way of each address: any of them may come to be counted. */
  const underWay = new Map<string, number>()

  return {
    async count(request, principal) {
      const counted = await (principal === null ? byAddress : byToken)(request)
      if (counted.isAllowed || !counted.isExceeded) return
      const { max, ttlInSeconds } = counted
      throw tooMany(max, ttlInSeconds)
    },

    guardLookUp: (request) => async (ask) => {
      const counted = await byAddress(request, { increment: false })
      if (counted.isAllowed) return ask()
      const { key, max, remaining, ttlInSeconds } = counted
      // Addresses are shared: whoever comes with a good token for the first time must not be locked out for good by a
      // neighbour who guesses. A few look-ups a second, half as many as the limit allows, leave a way in and are no load.
      if (remaining <= (underWay.get(key) ?? 0)) {
        const spare = await bySpare(request)
        if (!spare.isAllowed && spare.isExceeded) throw tooMany(max, remaining === 0 ? ttlInSeconds : 1)
      }
      underWay.set(key, (underWay.get(key) ?? 0) + 1)
      try {
        return await ask()
      } finally {
        // Not before a refused token is counted, and seen by all that read the count before.
        setImmediate(() => {
          const left = (underWay.get(key) ?? 1) - 1
          if (left === 0) underWay.delete(key)
          else underWay.set(key, left)
        })
      }
    },
  }
}

function tooMany(most: number, seconds: number): RateLimitError {
  return new RateLimitError(`more than ${most} requests in a minute: try again in ${seconds} s`, seconds)
}
