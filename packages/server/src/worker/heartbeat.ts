import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { abandonJobs } from '../queue/abandon.ts'
import { heartbeat } from '../queue/heartbeat.ts'
import { releaseJobs } from '../queue/release.ts'
import type { JobClaim } from '../queue/types.ts'
import type { HeldAttempts } from './held-attempts.ts'

const HEARTBEAT_INTERVAL_MS = 2_000
const WATCH_INTERVAL_MS = 500
/** Silence after which a worker gives its own jobs up: before the database does (15 s), so that none runs twice at once. */
const GIVE_UP_AFTER_MS = 10_000

interface HeartbeatDependencies {
  db: Database
  /** The session that is busy with nothing else, or null while there is none: a heartbeat must not wait behind results. */
  idleSession(): Database | null
  workerId: string
  attempts: HeldAttempts
  /** Signs the worker on again after the database has forgotten it. */
  register(): Promise<void>
  logger: Logger
}

/** Tells the database that the worker lives, and learns which of its jobs the database still grants it. */
export class Heartbeat {
  readonly #dependencies: HeartbeatDependencies
  readonly #stopping = new AbortController()
  #loop: Promise<void> = Promise.resolve()
  #watch: NodeJS.Timeout | null = null
  /** When the last question that got its answer was asked: the lease runs from then, not from the answer. */
  #renewedAt = performance.now()
  #stray: readonly JobClaim[] = []

  constructor(dependencies: HeartbeatDependencies) {
    this.#dependencies = dependencies
  }

  start(): void {
    this.#renewedAt = performance.now()
    this.#loop = this.#run(this.#stopping.signal)
    this.#watch = this.#startWatch()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    if (this.#watch !== null) clearInterval(this.#watch)
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(HEARTBEAT_INTERVAL_MS, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        await this.#beat()
      } catch (error) {
        this.#dependencies.logger.warn({ err: error }, 'a heartbeat failed')
      }
    }
  }

  /** On a timer of its own: a database that neither answers nor hangs up keeps a beat waiting. */
  #startWatch(): NodeJS.Timeout {
    let lastAt = performance.now()
    return setInterval(() => {
      const now = performance.now()
      // After a stall of this process the database has its say first: it may have kept the lease.
      const wasStalled = now - lastAt > 2 * WATCH_INTERVAL_MS
      lastAt = now
      if (!wasStalled && now - this.#renewedAt >= GIVE_UP_AFTER_MS) this.#loseAll()
    }, WATCH_INTERVAL_MS)
  }

  #loseAll(): void {
    for (const attempt of this.#dependencies.attempts.values()) attempt.abort('lost')
  }

  async #beat(): Promise<void> {
    const { db, idleSession, workerId, attempts, register } = this.#dependencies
    const askedAt = performance.now()
    const granted = await heartbeat(idleSession() ?? db, workerId)
    this.#renewedAt = askedAt
    if (granted === null) {
      this.#loseAll()
      await register()
      return
    }
    const claims = granted.map(({ jobId, fence }) => ({ id: jobId, fence }))
    const fences = new Map(granted.map(({ jobId, fence }) => [jobId, fence]))
    for (const attempt of attempts.values()) {
      // A job claimed after the question was asked cannot be in its answer.
      if (attempt.claimedAt < askedAt && fences.get(attempt.job.id) !== attempt.job.fence) attempt.abort('lost')
    }
    await this.#giveBackStrays(claims)
    attempts.forgetAllBut(claims, askedAt)
  }

  /**
   * What the database grants and nobody here runs would wait for its deadline: the answer to a claim was lost on its
   * way, or an outcome was not written. Seen twice, because the answer may be on its way still.
   */
  async #giveBackStrays(granted: readonly JobClaim[]): Promise<void> {
    const { db, attempts, logger } = this.#dependencies
    const before = this.#stray
    this.#stray = granted.filter((claim) => attempts.get(claim) === undefined)
    const strays = this.#stray.filter(({ id, fence }) => before.some((seen) => seen.id === id && seen.fence === fence))
    if (strays.length === 0) return
    logger.warn({ jobIds: strays.map(({ id }) => id) }, 'jobs that were claimed and that nobody runs are given back')
    await releaseJobs(
      db,
      strays.filter((claim) => !attempts.hasBegun(claim)),
    )
    await abandonJobs(
      db,
      strays.filter((claim) => attempts.hasBegun(claim)),
    )
  }
}
