import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { promoteJobs } from '../queue/promote.ts'
import { rescueJobs } from '../queue/rescue.ts'

const INTERVAL_MS = 1_000

/** Every second: jobs whose time has come become ready, jobs of lost workers are rescued. Any number of workers may run it. */
export class MaintenanceLoop {
  readonly #db: Database
  readonly #logger: Logger
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null

  constructor(db: Database, logger: Logger) {
    this.#db = db
    this.#logger = logger
  }

  start(): void {
    this.#loop ??= this.#run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        await promoteJobs(this.#db)
        const { retried, failed } = await rescueJobs(this.#db)
        if (retried + failed > 0) this.#logger.warn({ retried, failed }, 'jobs of lost workers were rescued')
      } catch (error) {
        this.#logger.warn({ err: error }, 'maintenance failed; trying again')
      }
      await sleep(INTERVAL_MS, undefined, { signal }).catch(() => {})
    }
  }
}
