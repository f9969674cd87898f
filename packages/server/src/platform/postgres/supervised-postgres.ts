import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger } from '../logger.ts'
import type { EmbeddedPostgres } from './embedded-postgres.ts'

const RESTART_DELAY_MS = 500

/** An embedded server that is started again whenever it ends unasked. */
export class SupervisedPostgres {
  readonly #create: () => EmbeddedPostgres
  readonly #logger: Pick<Logger, 'warn' | 'error'>
  #server: EmbeddedPostgres
  #stopping = false
  #supervision: Promise<void> = Promise.resolve()

  constructor(create: () => EmbeddedPostgres, logger: Pick<Logger, 'warn' | 'error'>) {
    this.#create = create
    this.#logger = logger
    this.#server = create()
  }

  /** The administrator's URL; throws what EmbeddedPostgres.start throws. */
  async start(): Promise<string> {
    const url = await this.#server.start()
    this.#supervision = this.#supervise()
    return url
  }

  async stop(): Promise<void> {
    this.#stopping = true
    await this.#server.stop()
    await this.#supervision
  }

  /** A server that somebody else started is theirs to keep. */
  async #supervise(): Promise<void> {
    while (!this.#stopping && this.#server.isOurs) {
      await this.#server.ended()
      if (this.#stopping) return
      this.#logger.warn('the database ended unasked and is started again')
      await this.#restart()
    }
  }

  async #restart(): Promise<void> {
    while (!this.#stopping) {
      this.#server = this.#create()
      try {
        await this.#server.start()
        return
      } catch (error) {
        this.#logger.error({ err: error }, 'the database could not be started again; trying on')
        await sleep(RESTART_DELAY_MS)
      }
    }
  }
}
