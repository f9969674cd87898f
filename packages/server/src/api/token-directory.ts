import { timingSafeEqual } from 'node:crypto'
import { TOKEN_PATTERN, tokenScopeSchema } from '@ergon/contract'
import { z } from 'zod'
import { digestOf } from '../control/tokens.ts'
import { type Database, queryRows } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Principal } from './principal.ts'

/** How long a token that was looked up is believed where nobody tells of its end. */
const TRUST_MS = 5_000
const MAX_REMEMBERED = 10_000

const rowSchema = z.object({
  name: z.string(),
  secret_digest: z.instanceof(Buffer),
  scopes: z.array(tokenScopeSchema),
  tenant_id: z.string().nullable(),
  rate_limit_per_minute: z.number().nullable(),
  expires_at: z.date().nullable(),
})

interface Remembered {
  principal: Principal
  digest: Buffer
  until: number
}

/** Lets a look-up reach the database, or throws instead. */
export type LookUpGuard = <Found>(ask: () => Promise<Found>) => Promise<Found>

/** What an unknown id is compared with, so that it takes the time of a known one. */
const NOBODY = digestOf(Buffer.alloc(32))

/** Finds out whose a bearer token is. Good ones are remembered for some seconds; a revocation is told at once. */
export class TokenDirectory {
  readonly #db: Database
  readonly #now: () => number
  #generation = 0
  /** Also those that have to be looked up again: who knows the secret of one is no guesser. */
  readonly #remembered = new Map<string, Remembered>()
  readonly #underWay = new Map<string, Promise<Remembered | null>>()

  constructor(db: Database, now: () => number = () => Date.now()) {
    this.#db = db
    this.#now = now
  }

  /**
   * Throws TOKEN_INVALID, for every reason in the same words: unknown, altered, expired, revoked; or what `guard` throws,
   * which is asked where the secret is not that of a token that was good lately.
   */
  async authenticate(text: string, guard: LookUpGuard): Promise<Principal> {
    const [, hex, secret] = TOKEN_PATTERN.exec(text) ?? []
    if (hex === undefined || secret === undefined) throw invalid()
    const id = hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    const digest = digestOf(Buffer.from(secret, 'base64url'))
    const known = this.#remembered.get(id)
    const isKnown = timingSafeEqual(digest, known?.digest ?? NOBODY) && known !== undefined
    const found = this.#recall(id) ?? (await (isKnown ? this.#lookUp(id) : this.#lookUpGuarded(id, guard)))
    const isSame = timingSafeEqual(digest, found?.digest ?? NOBODY)
    if (found === null || !isSame) throw invalid()
    return found.principal
  }

  /** Whether a token that was believed still says the same; throws when the database does not answer. */
  async stillHolds({ tokenId, scopes, tenant }: Principal): Promise<boolean> {
    const found = this.#recall(tokenId) ?? (await this.#lookUp(tokenId))
    if (found === null) return false
    const { principal } = found
    return JSON.stringify([principal.scopes, principal.tenant]) === JSON.stringify([scopes, tenant])
  }

  /** Asks again for this token next time, or for every one. */
  forget(id: string | null = null): void {
    this.#generation++
    const told = id === null ? [...this.#remembered.values()] : [this.#remembered.get(id)]
    for (const each of told) if (each !== undefined) each.until = 0
    if (id === null) this.#underWay.clear()
    else this.#underWay.delete(id)
  }

  #recall(id: string): Remembered | null {
    const found = this.#remembered.get(id)
    return found !== undefined && found.until > this.#now() ? found : null
  }

  async #lookUpGuarded(id: string, guard: LookUpGuard): Promise<Remembered | null> {
    try {
      return await guard(() => this.#lookUp(id))
    } catch (error) {
      // What somebody else asks already takes no statement more.
      const asked = this.#underWay.get(id)
      if (asked === undefined) throw error
      return asked
    }
  }

  /** Once for all that ask at the same time. */
  async #lookUp(id: string): Promise<Remembered | null> {
    const asked = this.#underWay.get(id)
    if (asked !== undefined) return asked
    const asking = this.#ask(id)
    this.#underWay.set(id, asking)
    try {
      return await asking
    } finally {
      if (this.#underWay.get(id) === asking) this.#underWay.delete(id)
    }
  }

  async #ask(id: string): Promise<Remembered | null> {
    const generation = this.#generation
    const [row] = await queryRows(this.#db, rowSchema, 'select * from jobs.find_api_token($1)', [id])
    if (row === undefined) {
      this.#remembered.delete(id)
      return null
    }
    const found = {
      principal: {
        tokenId: id,
        tokenName: row.name,
        scopes: row.scopes,
        tenant: row.tenant_id === null ? ('all' as const) : { tenantId: row.tenant_id },
        rateLimitPerMinute: row.rate_limit_per_minute,
      },
      digest: row.secret_digest,
      until: Math.min(this.#now() + TRUST_MS, row.expires_at?.getTime() ?? Infinity),
    }
    // What was told while the answer was under way may be about it.
    if (generation !== this.#generation) return found
    this.#remembered.delete(id)
    const [oldest] = this.#remembered.keys()
    if (this.#remembered.size >= MAX_REMEMBERED && oldest !== undefined) this.#remembered.delete(oldest)
    this.#remembered.set(id, found)
    return found
  }
}

function invalid(): ErgonError {
  return new ErgonError(
    'TOKEN_INVALID',
    'the token is unknown, altered, expired or revoked; `ergon tokens create` makes one',
  )
}
