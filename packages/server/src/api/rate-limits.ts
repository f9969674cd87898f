import rateLimit from '@fastify/rate-limit'
import type { FastifyRequest } from 'fastify'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { ApiApp } from './api-app.ts'
import type { Principal } from './principal.ts'

/** Requests a minute of one token that says nothing else, and of one address without a good one; for each API process. */
const TOKEN_LIMIT = 60_000
const ADDRESS_LIMIT = 600

/** Says when it is over, for the header Retry-After. */
export class RateLimitError extends ErgonError {
  readonly retryAfterSeconds: number

  constructor(message: string, retryAfterSeconds: number) {
    super('RATE_LIMITED', message)
    this.retryAfterSeconds = retryAfterSeconds
  }
}

/** Counts a request for its token, or for its address where there is none; throws RATE_LIMITED. */
export type RateLimit = (request: FastifyRequest, principal: Principal | null) => Promise<void>

export async function createRateLimit(app: ApiApp): Promise<RateLimit> {
  await app.register(rateLimit, { global: false, timeWindow: 60_000, cache: 20_000 })
  // Of IPv6 a whole /64 counts as one address, which is what one caller has.
  const byAddress = app.createRateLimit({ max: ADDRESS_LIMIT })
  const byToken = app.createRateLimit({
    max: ({ caller }) => caller?.principal.rateLimitPerMinute ?? TOKEN_LIMIT,
    keyGenerator: ({ caller }) => caller?.principal.tokenId ?? '',
  })
  return async (request, principal) => {
    const counted = await (principal === null ? byAddress : byToken)(request)
    if (counted.isAllowed || !counted.isExceeded) return
    const { max, ttlInSeconds } = counted
    throw new RateLimitError(`more than ${max} requests in a minute: try again in ${ttlInSeconds} s`, ttlInSeconds)
  }
}
