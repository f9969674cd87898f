import { UntrustedSession } from '../platform/db/untrusted-session.ts'
import type { Logger } from '../platform/logger.ts'

const IDLE_MS = 10_000
/** One that rested for longer is asked whether it still stands. */
const FRESH_MS = 1_000
const RECONNECT_MS = 5_000
const LOOK_FOR_OVERDUE_MS = 5_000

interface Resting {
  session: UntrustedSession
  since: number
  answeredAt: number
}

/**
 * The sessions that callbacks run in. They stand before callbacks are claimed for them, so that a login that is refused, or
 * finds no connection free, costs no callback an attempt.
 */
export class CallbackSessions {
  readonly #options: { url: string; logger: Logger }
  #resting: Resting[] = []
  #isReachable = false
  #connectAt = 0
  #lookForOverdueAt = 0

  constructor(options: { url: string; logger: Logger }) {
    this.#options = options
  }

  /** Whether there is a session, or was one when it was asked for last. */
  get isReachable(): boolean {
    return this.#isReachable || this.#resting.length > 0
  }

  /** Opens one more, at rest; false when that fails, which is not tried again for a while. */
  async open(): Promise<boolean> {
    if (performance.now() < this.#connectAt) return false
    const session = new UntrustedSession({ url: this.#options.url, applicationName: 'ergon-callback' })
    try {
      await session.open()
      this.add(session)
      this.#isReachable = true
    } catch (error) {
      this.#options.logger.error({ err: error }, 'no session can be opened for callbacks; they wait')
      this.#isReachable = false
      this.#connectAt = performance.now() + RECONNECT_MS
    }
    return this.#isReachable
  }

  /** How many are at rest and stand. */
  async count(): Promise<number> {
    await Promise.all(
      this.#resting.map(async (resting) => {
        if (resting.session.isOpen() && performance.now() - resting.answeredAt < FRESH_MS) return
        if (await resting.session.answers()) resting.answeredAt = performance.now()
        else await this.#close(resting)
      }),
    )
    return this.#resting.length
  }

  get atRest(): number {
    return this.#resting.length
  }

  /** One that `count` has counted, to be given back by `add` unless it failed. */
  take(): UntrustedSession {
    const resting = this.#resting.pop()
    if (resting === undefined) throw new Error('no session is at rest')
    return resting.session
  }

  add(session: UntrustedSession): void {
    this.#resting.push({ session, since: performance.now(), answeredAt: performance.now() })
  }

  /** Now and then, with one that is at rest: ends sessions of this login that a killed worker has left behind. */
  async endOverdue(limitMs: number): Promise<void> {
    const resting = this.#resting.at(-1)
    if (resting === undefined || performance.now() < this.#lookForOverdueAt) return
    this.#lookForOverdueAt = performance.now() + LOOK_FOR_OVERDUE_MS
    try {
      const ended = await resting.session.endOverdue(limitMs)
      if (ended > 0) this.#options.logger.warn({ ended }, 'ended sessions of callbacks whose worker no longer does')
    } catch (error) {
      this.#options.logger.warn({ err: error }, 'could not look for sessions of callbacks that a worker left behind')
      await this.#close(resting)
    }
  }

  /** Those that have rested for long. */
  async closeIdle(): Promise<void> {
    for (const resting of this.#resting.filter(({ since }) => performance.now() - since > IDLE_MS))
      await this.#close(resting)
  }

  /** Those that are at rest. */
  async end(): Promise<void> {
    await Promise.all(this.#resting.splice(0).map(({ session }) => session.end()))
  }

  async #close(resting: Resting): Promise<void> {
    this.#resting = this.#resting.filter((other) => other !== resting)
    await resting.session.end()
  }
}
