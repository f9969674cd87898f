import type pg from 'pg'
import type { Database, DatabasePool } from './database.ts'
import { translateDatabaseError } from './database-error.ts'
import { isUuid } from '../text/uuid.ts'

/** Whose rows a transaction sees: those of one tenant, or all. */
export type TenantScope = { readonly tenantId: string } | 'all'

/**
 * A database as one tenant sees it: each statement is a transaction of its own that first says whose it is, and row-level
 * security does the rest. On a pipelined pool that is one round trip.
 */
export class TenantDatabase implements Database {
  readonly #pool: DatabasePool
  readonly #begin: string
  readonly #tenant: string
  /** Null for all. */
  readonly tenantId: string | null

  constructor(pool: DatabasePool, scope: TenantScope) {
    this.#pool = pool
    this.#begin = beginAs(scope)
    this.tenantId = scope === 'all' ? null : scope.tenantId
    this.#tenant = scope === 'all' ? 'all' : scope.tenantId
  }

  query(text: string, values: readonly unknown[] = []): Promise<{ rows: unknown[]; rowCount: number | null }> {
    return this.#with(async (client) => {
      const name = this.#pool.nameOf(text)
      const uncork = cork(client)
      const begun = client.query(this.#begin)
      const answered = client.query({ text, values: [...values], ...(name === undefined ? {} : { name }) })
      const ended = client.query('commit')
      uncork()
      const [first, answer, last] = await Promise.allSettled([begun, answered, ended])
      for (const each of [first, answer, last]) if (each.status === 'rejected') throw each.reason
      if (answer.status !== 'fulfilled') throw new Error('unreachable')
      return answer.value
    })
  }

  /**
   * Runs one statement that says by itself whose it is: it calls `jobs.enter_tenant($1)` before it reads anything, and all
   * that it reads hangs on the answer. Half the work of `query`, for what is asked thousands of times a second.
   */
  queryEntering(text: string, values: readonly unknown[]): Promise<{ rows: unknown[]; rowCount: number | null }> {
    return this.#with((client) => {
      const name = this.#pool.nameOf(text)
      return client.query({ text, values: [this.#tenant, ...values], ...(name === undefined ? {} : { name }) })
    })
  }

  /** Runs `work` in one transaction of the tenant's: commits when it resolves, rolls back when it throws. */
  transaction<Result>(work: (db: Database) => Promise<Result>): Promise<Result> {
    return this.#with(async (client) => {
      await client.query(this.#begin)
      try {
        const result = await work(client)
        await client.query('commit')
        return result
      } catch (error) {
        await client.query('rollback')
        throw new RolledBack(error)
      }
    })
  }

  async #with<Result>(work: (client: pg.PoolClient) => Promise<Result>): Promise<Result> {
    const client = await this.#pool.connect()
    let isBroken = true
    try {
      const result = await work(client)
      isBroken = false
      return result
    } catch (error) {
      // The server answered, and the transaction is over: the connection is as good as before.
      isBroken = !(
        error instanceof RolledBack ||
        (error instanceof Error && 'severity' in error && error.severity === 'ERROR')
      )
      throw translateDatabaseError(error instanceof RolledBack ? error.cause : error, this.#pool.description)
    } finally {
      client.release(isBroken)
    }
  }
}

/** What ended a transaction that was undone. */
class RolledBack extends Error {
  constructor(cause: unknown) {
    super('rolled back', { cause })
  }
}

/** Holds back what is written to the server until the returned function is called: three statements are one write then. */
function cork(client: pg.PoolClient): () => void {
  // Not in the library's types; where it should go away, three writes do the same.
  const { connection } = client as unknown as { connection?: { stream?: { cork?(): void; uncork?(): void } } }
  connection?.stream?.cork?.()
  return () => connection?.stream?.uncork?.()
}

/** One message of two statements. Settings have no parameters, so what goes in is an id and nothing else. */
function beginAs(scope: TenantScope): string {
  if (scope === 'all') return 'begin; set local ergon.all_tenants = on'
  if (!isUuid(scope.tenantId)) throw new Error(`${JSON.stringify(scope.tenantId)} is no tenant id`)
  return `begin; set local ergon.tenant = '${scope.tenantId}'`
}
