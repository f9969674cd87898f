import type { DatabasePool } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { IntervalLoop } from '../platform/process/interval-loop.ts'
import { type Sealer, sealAudit } from '../queue/seal-audit.ts'

const INTERVAL_MS = 3_000

/** Seals the audit trail every few seconds. Any number of workers may run it; one at a time seals. */
export class AuditSealer {
  readonly #db: DatabasePool
  readonly #key: Sealer
  readonly #logger: Logger
  readonly #loop: IntervalLoop
  /** The newest seal of our own. Whoever cuts seals off the end cannot have us sign others in their place. */
  #own: { number: bigint; digest: string } | null = null

  constructor(db: DatabasePool, key: Sealer, logger: Logger) {
    this.#db = db
    this.#key = key
    this.#logger = logger
    const onError = (error: unknown) => logger.warn({ err: error }, 'the audit trail could not be sealed; trying again')
    this.#loop = new IntervalLoop({ intervalMs: INTERVAL_MS, turn: () => this.sealWaiting(), onError })
  }

  start(): void {
    this.#loop.start()
  }

  /** What is recorded by now is sealed as far as it can be. */
  async stop(): Promise<void> {
    await this.#loop.stop()
    await this.sealWaiting().catch((error: unknown) => {
      this.#logger.warn({ err: error }, 'the last entries of the audit trail are not sealed yet; any worker can do it')
    })
  }

  /** Seals all that is committed for good by now. */
  async sealWaiting(): Promise<void> {
    while (await this.#sealOnce());
  }

  /** True when more is waiting. */
  async #sealOnce(): Promise<boolean> {
    const seal = await sealAudit(this.#db, this.#key, new Date(), (number, previousDigest) => {
      const own = this.#own
      const isContinued =
        own === null || number > own.number + 1n || (number === own.number + 1n && previousDigest === own.digest)
      if (!isContinued)
        this.#logger.error(
          { sealed: String(own.number), digest: own.digest, offered: String(number) },
          'seals of the audit trail were removed or altered: nothing is sealed any more. `ergon audit verify` says what is wrong; a restart of the worker continues the chain as it is now',
        )
      return isContinued
    })
    if (seal === null) return false
    this.#own = seal
    return seal.isFull
  }
}
