import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import type { UntrustedSession } from '../platform/db/untrusted-session.ts'
import type { Logger } from '../platform/logger.ts'
import { makeVisible } from '../platform/text/sanitise-output.ts'
import {
  type ClaimedCallback,
  claimCallbacks,
  failCallback,
  hasDueCallback,
  runCallback,
  sweepCallbackWaits,
} from '../queue/callbacks.ts'
import { CallbackSessions } from './callback-sessions.ts'

/** Each of another registration, so this many functions that hang hold up everything else for a while, and no fewer. */
const SESSIONS = 4
const LOOK_EVERY_MS = 1_000
/** How long it is remembered that nothing more was due; below LOOK_EVERY_MS. */
const NOTHING_DUE_MS = 500
const ERROR_CHARACTERS = 2_000
/** How long a stopping worker waits for the callbacks it runs; their transactions are rolled back and tried elsewhere. */
const STOP_PATIENCE_MS = 3_000

export interface CallbackLimits {
  /** How long the function may run, and wait for one lock. */
  statementMs: number
  lockMs: number
  /** After which the session is ended; above statementMs, which a function can catch. */
  sessionMs: number
  /** After which a callback that nobody told the end of is tried again; above sessionMs. */
  leaseMs: number
}

export const CALLBACK_LIMITS: CallbackLimits = {
  statementMs: 10_000,
  lockMs: 2_000,
  sessionMs: 15_000,
  leaseMs: 30_000,
}

export interface CallbackRunnerDependencies {
  /** Signs in as a worker: it learns which callbacks are due. */
  db: Database
  /** Signs in as a login of the group ergon_callback, which does nothing but run them. */
  callbackUrl: string
  logger: Logger
  limits?: CallbackLimits
}

/**
 * Runs the callbacks that are owed, in sessions that it opens when there are some. Any number of workers may do so. Looks
 * every second, and when it is woken. `start` and `stop` may be called once.
 */
export class CallbackRunner {
  readonly #dependencies: CallbackRunnerDependencies
  readonly #limits: CallbackLimits
  readonly #sessions: CallbackSessions
  /** By registration. */
  readonly #running = new Map<number, { session: UntrustedSession; ended: Promise<void> }>()
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null
  #sweepAt = 0
  #sweepAfter = '0'
  #nothingDueUntil = 0
  #wake = Promise.withResolvers<void>()

  constructor(dependencies: CallbackRunnerDependencies) {
    this.#dependencies = dependencies
    this.#limits = dependencies.limits ?? CALLBACK_LIMITS
    this.#sessions = new CallbackSessions({ url: dependencies.callbackUrl, logger: dependencies.logger })
  }

  start(): void {
    this.#loop ??= this.#run(this.#stopping.signal)
  }

  /** Something may be owed: looks at once. */
  wake(): void {
    this.#nothingDueUntil = 0
    this.#wake.resolve()
  }

  /** Runs what is due at this moment as far as there are sessions, and waits a little for all that runs. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    // A stack that ends with its only job has recorded its outcome a moment ago.
    this.#nothingDueUntil = 0
    if (this.#sessions.isReachable) await this.#look().catch(() => {})
    const impatience = setTimeout(() => {
      for (const { session } of this.#running.values()) session.abort(new Error('the worker stopped while it ran'))
    }, STOP_PATIENCE_MS)
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
    clearTimeout(impatience)
    await this.#sessions.end()
  }

  async #run(signal: AbortSignal): Promise<void> {
    // Whatever is owed: a login that is refused is told of at once.
    await this.#sessions.open()
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers<void>()
      try {
        await this.#sweep()
        await this.#look()
      } catch (error) {
        this.#dependencies.logger.warn({ err: error }, 'callbacks could not be claimed; trying again')
      }
      await this.#rest(signal)
      await this.#sessions.closeIdle()
    }
  }

  async #sweep(): Promise<void> {
    if (performance.now() < this.#sweepAt) return
    this.#sweepAt = performance.now() + LOOK_EVERY_MS
    this.#sweepAfter = await sweepCallbackWaits(this.#dependencies.db, this.#sweepAfter)
  }

  /** Runs what is due, as far as there are sessions. In few turns, however much there is: somebody may want to stop. */
  async #look(): Promise<void> {
    for (let turn = 0; turn < SESSIONS && this.#running.size < SESSIONS; turn += 1) {
      const busyRegistrations = [...this.#running.keys()]
      const ready = (await this.#sessions.count()) || (await this.#openOne(busyRegistrations))
      if (ready === 0) return
      await this.#sessions.endOverdue(this.#limits.leaseMs)
      // One of them may have failed just now.
      const most = Math.min(this.#sessions.atRest, SESSIONS - this.#running.size)
      if (most === 0) return
      const options = { most, busyRegistrations, leaseMs: this.#limits.leaseMs }
      const claimed = await claimCallbacks(this.#dependencies.db, options)
      for (const callback of claimed) this.#start(callback, this.#sessions.take())
      if (claimed.length < most) return
    }
  }

  /** For something alone, and before it is claimed: without a session it keeps its attempts. Returns how many there are now. */
  async #openOne(busyRegistrations: readonly number[]): Promise<number> {
    if (performance.now() < this.#nothingDueUntil) return 0
    // Before the answer: who wakes us meanwhile may know better.
    this.#nothingDueUntil = performance.now() + NOTHING_DUE_MS
    if (!(await hasDueCallback(this.#dependencies.db, busyRegistrations))) return 0
    this.#nothingDueUntil = 0
    return (await this.#sessions.open()) ? 1 : 0
  }

  #start(callback: ClaimedCallback, session: UntrustedSession): void {
    const ended = this.#runOne(callback, session).finally(() => {
      this.#running.delete(callback.registrationId)
      // The next one of its registration may be due, in the same session.
      this.#wake.resolve()
    })
    this.#running.set(callback.registrationId, { session, ended })
  }

  async #runOne(callback: ClaimedCallback, session: UntrustedSession): Promise<void> {
    const { db, logger } = this.#dependencies
    const about = {
      callbackId: callback.id,
      jobId: callback.jobId,
      outcome: callback.outcome,
      attempt: callback.attempt,
    }
    try {
      const result = await session.use(this.#limits.sessionMs, (inside) => runCallback(inside, callback, this.#limits))
      this.#sessions.add(session)
      if (result === 'failed') logger.warn(about, 'the callback failed; `ergon callbacks list` shows why')
      else logger.info({ ...about, result }, 'callback')
    } catch (error) {
      const reason = makeVisible(error instanceof Error ? error.message : String(error)).slice(0, ERROR_CHARACTERS)
      logger.warn({ ...about, reason }, 'the callback did not come to its end')
      await failCallback(db, callback, reason).catch((failure: unknown) => {
        logger.warn({ ...about, err: failure }, 'that could not be noted; the callback is tried again after its lease')
      })
    }
  }

  /** Until a look is worth it: woken, a callback ended, or a second has passed. */
  async #rest(signal: AbortSignal): Promise<void> {
    const rested = new AbortController()
    const stop = () => rested.abort()
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    const waited = sleep(LOOK_EVERY_MS, undefined, { signal: rested.signal }).catch(() => {})
    await Promise.race([waited, this.#wake.promise])
    signal.removeEventListener('abort', stop)
    rested.abort()
  }
}
