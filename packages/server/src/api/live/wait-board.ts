import { explainTenantWaits, type JobWait } from '../../control/explain-wait.ts'
import type { Database } from '../../platform/db/database.ts'

export type Wait = Pick<JobWait, 'gate' | 'reason' | 'until'>

/** When a job is asked for that somebody has begun to follow, and then all of them again and again. */
const FIRST_MS = 100
const ROUND_MS = 5_000
const MAX_IDS = 200

/** Says why jobs that somebody follows wait: all of them in one round, however many follow. */
export class WaitBoard {
  readonly #db: Database
  readonly #onError: (error: unknown) => void
  readonly #listeners = new Map<string, Set<(wait: Wait) => void>>()
  readonly #fresh = new Set<string>()
  #timer: NodeJS.Timeout | null = null
  #roundAt = 0
  #isAsking = false
  #isStopped = false

  /** `db` sees the jobs of every tenant: who may know of one is for the caller to check. */
  constructor(db: Database, onError: (error: unknown) => void) {
    this.#db = db
    this.#onError = onError
  }

  /** Calls soon and then every five seconds while the job waits. Returns what ends it. */
  watch(jobId: string, listener: (wait: Wait) => void): () => void {
    const id = jobId.toLowerCase()
    const listeners = this.#listeners.get(id) ?? new Set()
    if (this.#listeners.size === 0) this.#roundAt = performance.now() + ROUND_MS
    this.#listeners.set(id, listeners.add(listener))
    this.#fresh.add(id)
    this.#arm()
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(id) === listeners) {
        this.#listeners.delete(id)
        this.#fresh.delete(id)
      }
    }
  }

  stop(): void {
    this.#isStopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#listeners.clear()
  }

  #arm(): void {
    if (this.#isStopped || this.#isAsking || this.#listeners.size === 0) return
    const wait = Math.max(0, this.#roundAt - performance.now())
    if (this.#timer !== null) {
      if (this.#fresh.size !== 1) return
      clearTimeout(this.#timer)
    }
    this.#timer = setTimeout(() => void this.#ask(), this.#fresh.size > 0 ? Math.min(FIRST_MS, wait) : wait)
  }

  async #ask(): Promise<void> {
    this.#timer = null
    this.#isAsking = true
    const isRound = performance.now() >= this.#roundAt
    const ids = isRound ? [...this.#listeners.keys()] : [...this.#fresh]
    this.#fresh.clear()
    if (isRound) this.#roundAt = performance.now() + ROUND_MS
    try {
      for (let at = 0; at < ids.length && !this.#isStopped; at += MAX_IDS)
        this.#tell(await explainTenantWaits(this.#db, ids.slice(at, at + MAX_IDS)))
    } catch (error) {
      this.#onError(error)
    } finally {
      this.#isAsking = false
      this.#arm()
    }
  }

  #tell(waits: ReadonlyMap<string, Wait>): void {
    for (const [id, wait] of waits) for (const listener of this.#listeners.get(id) ?? []) listener(wait)
  }
}
