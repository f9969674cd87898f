import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { heartbeat } from '../queue/heartbeat.ts'
import type { Attempt } from './attempt.ts'

const HEARTBEAT_INTERVAL_MS = 2_000
/** Silence after which a worker gives its own jobs up: before the database does (15 s), so that none runs twice at once. */
const GIVE_UP_AFTER_MS = 10_000

interface HeartbeatDependencies {
  db: Database
  workerId: string
  /** The attempts this worker holds, by job id. */
  attempts: ReadonlyMap<string, Attempt>
  /** Signs the worker on again after the database has forgotten it. */
  register(): Promise<void>
  logger: Logger
}

/** Tells the database that the worker lives, and learns which of its jobs the database still grants it. */
export class Heartbeat {
  readonly #dependencies: HeartbeatDependencies
  readonly #stopping = new AbortController()
  #loop: Promise<void> = Promise.resolve()
  #heardAt = performance.now()

  constructor(dependencies: HeartbeatDependencies) {
    this.#dependencies = dependencies
  }

  start(): void {
    this.#heardAt = performance.now()
    this.#loop = this.#run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await sleep(HEARTBEAT_INTERVAL_MS, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      await this.#beat()
    }
  }

  async #beat(): Promise<void> {
    const { db, workerId, attempts, register, logger } = this.#dependencies
    const askedAt = performance.now()
    try {
      const granted = await heartbeat(db, workerId)
      this.#heardAt = performance.now()
      if (granted === null) {
        for (const attempt of attempts.values()) attempt.abort('lost')
        await register()
        return
      }
      const fences = new Map(granted.map(({ jobId, fence }) => [jobId, fence]))
      for (const [jobId, attempt] of attempts) {
        // A job claimed after the question was asked cannot be in its answer.
        if (attempt.claimedAt < askedAt && fences.get(jobId) !== attempt.job.fence) attempt.abort('lost')
      }
    } catch (error) {
      logger.warn({ err: error }, 'a heartbeat failed')
      if (performance.now() - this.#heardAt < GIVE_UP_AFTER_MS) return
      for (const attempt of attempts.values()) attempt.abort('lost')
    }
  }
}
