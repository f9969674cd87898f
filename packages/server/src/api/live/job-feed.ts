import { setTimeout as sleep } from 'node:timers/promises'
import {
  type EndsReading,
  type JobEnd,
  readJobEnds,
  readTrailPosition,
  type TrailPosition,
} from '../../control/job-ends.ts'
import type { Database } from '../../platform/db/database.ts'
import type { TenantScope } from '../../platform/db/tenant-database.ts'
import { IntervalLoop } from '../../platform/process/interval-loop.ts'
import { isBehind } from './feed-position.ts'

const INTERVAL_MS = 250
/** Between two tries while the database is away. */
const AWAY_MS = 1_000
/** Entries of the trail that one statement looks at. */
const PAGE = 128
/** The newest ends of a scope, kept for its feeds; who is further back asks the database. */
const MAX_KEPT = 128

interface Tail {
  db: Database
  listeners: Set<() => void>
  /** Every end between the two is in `kept`. */
  from: TrailPosition
  to: TrailPosition
  kept: JobEnd[]
  /** Of the trail when it was read last. */
  version: string
}

/**
 * The newest ends of attempts for every scope that somebody follows. One statement asks whether the trail has grown; when
 * it has, one statement a scope reads what came, whatever the number of its feeds.
 */
export class JobFeed {
  readonly #everyTenant: Database
  readonly #onError: (error: unknown) => void
  readonly #tails = new Map<string, Tail>()
  #loop: IntervalLoop | null = null
  #failures = 0

  constructor(everyTenant: Database, onError: (error: unknown) => void) {
    this.#everyTenant = everyTenant
    this.#onError = onError
  }

  /** Where the trail is now. */
  async now(): Promise<TrailPosition> {
    const { now } = await readTrailPosition(this.#everyTenant)
    return now
  }

  /** Calls whenever the scope has new ends; `at` is where the trail was a moment ago. Returns what ends it. */
  listen(scope: TenantScope, db: Database, at: TrailPosition, listener: () => void): () => void {
    const key = scope === 'all' ? 'all' : scope.tenantId
    const tail = this.#tails.get(key) ?? { db, listeners: new Set(), from: at, to: at, kept: [], version: '' }
    tail.listeners.add(listener)
    this.#tails.set(key, tail)
    this.#start()
    return () => {
      tail.listeners.delete(listener)
      if (tail.listeners.size === 0 && this.#tails.get(key) === tail) this.#tails.delete(key)
    }
  }

  /** What is kept of the scope behind a place, at most a page; null when that place is not covered. */
  kept(scope: TenantScope, from: TrailPosition): EndsReading | null {
    const tail = this.#tails.get(scope === 'all' ? 'all' : scope.tenantId)
    if (tail === undefined || tail.from.cluster !== from.cluster || isBehind(from, tail.from)) return null
    const ends = tail.kept.filter(({ position }) => isBehind(from, position))
    return { ends, next: isBehind(from, tail.to) ? tail.to : from, hasMore: false }
  }

  async stop(): Promise<void> {
    this.#tails.clear()
    await this.#loop?.stop()
  }

  #start(): void {
    if (this.#loop !== null) return
    this.#loop = new IntervalLoop({ intervalMs: INTERVAL_MS, turn: () => this.#turn(), onError: this.#onError })
    this.#loop.start()
  }

  async #turn(): Promise<void> {
    if (this.#tails.size === 0) return
    try {
      await this.#advanceAll()
      this.#failures = 0
    } catch (error) {
      if (this.#failures++ === 0) this.#onError(error)
      await sleep(AWAY_MS)
    }
  }

  async #advanceAll(): Promise<void> {
    const { version } = await readTrailPosition(this.#everyTenant)
    const faults: unknown[] = []
    for (const tail of [...this.#tails.values()]) {
      if (tail.version === version) continue
      try {
        await advance(tail)
        tail.version = version
      } catch (error) {
        faults.push(error)
      }
    }
    // Nobody waits behind a tenant whose entries cannot be read.
    if (faults.length > 0) throw faults[0]
  }
}

/** Behind a place, from the database. */
export function readPage(db: Database, from: TrailPosition): Promise<EndsReading> {
  return readJobEnds(db, from, PAGE)
}

async function advance(tail: Tail): Promise<void> {
  let hasMore = true
  while (hasMore && tail.listeners.size > 0) {
    const reading = await readPage(tail.db, tail.to)
    if (reading.next.cluster === tail.to.cluster) tail.kept.push(...reading.ends)
    else Object.assign(tail, { kept: [], from: reading.next })
    tail.to = reading.next
    const dropped = tail.kept.splice(0, Math.max(0, tail.kept.length - MAX_KEPT)).at(-1)
    if (dropped !== undefined) tail.from = dropped.position
    hasMore = reading.hasMore
    if (reading.ends.length > 0) for (const listener of tail.listeners) listener()
  }
}
