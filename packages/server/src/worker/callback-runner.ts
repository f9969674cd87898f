import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import { UntrustedSession } from '../platform/db/untrusted-session.ts'
import type { Logger } from '../platform/logger.ts'
import { makeVisible } from '../platform/text/sanitise-output.ts'
import { type ClaimedCallback, claimCallbacks, failCallback, runCallback } from '../queue/callbacks.ts'

/** Each of another registration, so this many functions that hang hold up everything else for a while, and no fewer. */
const SESSIONS = 4
const LOOK_EVERY_MS = 1_000
const IDLE_SESSION_MS = 10_000
const RECONNECT_MS = 5_000
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
  readonly #idle: { session: UntrustedSession; since: number }[] = []
  /** By registration. */
  readonly #running = new Map<number, { session: UntrustedSession; ended: Promise<void> }>()
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null
  #isReachable = false
  #wake = Promise.withResolvers<void>()

  constructor(dependencies: CallbackRunnerDependencies) {
    this.#dependencies = dependencies
    this.#limits = dependencies.limits ?? CALLBACK_LIMITS
  }

  start(): void {
    this.#loop ??= this.#run(this.#stopping.signal)
  }

  /** Something may be owed: looks at once. */
  wake(): void {
    this.#wake.resolve()
  }

  /** Runs what is due at this moment as far as there are sessions, and waits a little for all that runs. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
    // A stack that ends with its only job has recorded its outcome a moment ago.
    if (this.#isReachable) await this.#claim().catch(() => {})
    const impatience = setTimeout(() => {
      for (const { session } of this.#running.values()) session.abort(new Error('the worker stopped while it ran'))
    }, STOP_PATIENCE_MS)
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
    clearTimeout(impatience)
    await Promise.all(this.#idle.splice(0).map(({ session }) => session.end()))
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#wake = Promise.withResolvers<void>()
      try {
        if (await this.#signIn(signal)) await this.#claim()
      } catch (error) {
        this.#dependencies.logger.warn({ err: error }, 'callbacks could not be claimed; trying again')
      }
      await this.#rest(signal)
      await this.#closeIdle()
    }
  }

  /** A login that is refused must not cost callbacks their attempts: none is claimed before one session stands. */
  async #signIn(signal: AbortSignal): Promise<boolean> {
    if (this.#isReachable) return true
    const session = this.#newSession()
    try {
      await session.open()
      this.#idle.push({ session, since: performance.now() })
      this.#isReachable = true
    } catch (error) {
      this.#dependencies.logger.error({ err: error }, 'the login for callbacks cannot sign in; they wait')
      await sleep(RECONNECT_MS, undefined, { signal }).catch(() => {})
    }
    return this.#isReachable
  }

  async #claim(): Promise<void> {
    const most = SESSIONS - this.#running.size
    if (most === 0) return
    const claimed = await claimCallbacks(this.#dependencies.db, {
      most,
      busyRegistrations: [...this.#running.keys()],
      leaseMs: this.#limits.leaseMs,
    })
    for (const callback of claimed) {
      const session = this.#idle.pop()?.session ?? this.#newSession()
      const ended = this.#runOne(callback, session).finally(() => {
        this.#running.delete(callback.registrationId)
        // The next one of its registration may be due.
        this.wake()
      })
      this.#running.set(callback.registrationId, { session, ended })
    }
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
      this.#idle.push({ session, since: performance.now() })
      if (result === 'failed') logger.warn(about, 'the callback failed; `ergon callbacks list` shows why')
      else logger.info({ ...about, result }, 'callback')
    } catch (error) {
      // May be that the server, or the login, is what fails: the next one is claimed after a session stood.
      this.#isReachable = this.#idle.length > 0
      const reason = makeVisible(error instanceof Error ? error.message : String(error)).slice(0, ERROR_CHARACTERS)
      logger.warn({ ...about, reason }, 'the callback did not come to its end')
      await failCallback(db, callback, reason).catch((failure: unknown) => {
        logger.warn({ ...about, err: failure }, 'that could not be noted; the callback is tried again after its lease')
      })
    }
  }

  #newSession(): UntrustedSession {
    return new UntrustedSession({ url: this.#dependencies.callbackUrl, applicationName: 'ergon-callback' })
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

  async #closeIdle(): Promise<void> {
    const outdated = this.#idle.filter(({ since }) => performance.now() - since > IDLE_SESSION_MS)
    for (const { session } of outdated) {
      this.#idle.splice(
        this.#idle.findIndex((idle) => idle.session === session),
        1,
      )
      await session.end()
    }
  }
}
