import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'
import { ListenConnection } from '../platform/db/listen-connection.ts'
import type { Logger } from '../platform/logger.ts'
import { delayBeforeLook } from './poll-schedule.ts'
import type { JobClaim } from './types.ts'

const TIMES = {
  /** Without a new sleep, after which the worker counts as busy and is not rung for any more. */
  busyAfterMs: 50,
  /** Without a ring, after which what is rung for is taken to be alone. */
  silenceMs: 50,
}

const lockedSchema = z.array(z.object({ lane: z.string(), locked: z.boolean() }))

/** What ended a sleep. */
export interface Ring {
  /** Those that were rung for; none where nobody rang. */
  lanes: readonly string[]
  /** It rang after a silence: whoever finds something now has probably found all. */
  isAlone: boolean
}

export const NO_RING: Ring = { lanes: [], isAlone: false }

export interface DoorbellOptions {
  url: string
  logger: Pick<Logger, 'warn'>
  times?: typeof TIMES
}

/**
 * Wakes an idle worker. While it sleeps it holds each lane's advisory lock, shared, on its LISTEN connection; whoever
 * makes a job ready notifies only if that lock is held. A job that was inserted before the lock and committed after the
 * worker's look is not rung for, so sleeping ends after 5, 10, 20, 50 and then every 100 ms in any case.
 */
export class Doorbell {
  readonly #connection: ListenConnection
  readonly #times: typeof TIMES
  readonly #cancelListeners: ((claim: JobClaim) => void)[] = []
  readonly #held = new Set<string>()
  /** Lanes that were rung for since the last look at them began. */
  readonly #rung = new Set<string>()
  #rungAtMs = -Infinity
  #isAlone = false
  #looks = 0
  #wake: ((lane: string) => void) | null = null
  #busyTimer: NodeJS.Timeout | null = null

  constructor({ url, logger, times = TIMES }: DoorbellOptions) {
    this.#times = times
    this.#connection = new ListenConnection({
      url,
      applicationName: 'ergon-doorbell',
      channels: {
        ergon_lane: (lane) => this.#ring(lane),
        ergon_cancel: (payload) => {
          const [id = '', fence = ''] = payload.split(' ')
          for (const listener of this.#cancelListeners) listener({ id, fence })
        },
      },
      onConnect: () => this.#held.clear(),
      onLoss: (error) => {
        this.#held.clear()
        logger.warn({ err: error }, 'the doorbell is out of order; looking for work every 100 ms')
      },
    })
  }

  start(): Promise<void> {
    return this.#connection.start()
  }

  async stop(): Promise<void> {
    if (this.#busyTimer !== null) clearTimeout(this.#busyTimer)
    await this.#connection.stop()
  }

  /** The listening session, which nothing keeps busy; null while it is being replaced. */
  get session(): Database | null {
    return this.#connection.isConnected ? this.#connection : null
  }

  /** Calls the listener with the claim of every job that is cancelled while some worker runs it. */
  onCancel(listener: (claim: JobClaim) => void): void {
    this.#cancelListeners.push(listener)
  }

  /** What these lanes were rung for until now is there for the look that begins. */
  beginLook(lanes: readonly string[]): void {
    for (const lane of lanes) this.#rung.delete(lane)
  }

  /**
   * Resolves when it is worth claiming from these lanes: rung since `beginLook`, polled, or aborted. To be called after
   * looks that found all there was, once at a time. The first call resolves at once, with the locks held: what follows is
   * the second look.
   */
  async sleepUntilWork(lanes: readonly string[], signal: AbortSignal): Promise<Ring> {
    if (this.#busyTimer !== null) clearTimeout(this.#busyTimer)
    const rung = this.#awaitRing(lanes, signal)
    try {
      const isNewlyHeld = await this.#hold(lanes)
      // Only what was inserted before the locks is not rung for: looks become rare from then on, however often it rings.
      if (isNewlyHeld) this.#looks = 0
      else if (await rung.within(delayBeforeLook(this.#looks, Math.random())))
        return { lanes: [...this.#rung], isAlone: this.#isAlone }
      else this.#looks += 1
      return NO_RING
    } finally {
      rung.dispose()
      this.#busyTimer = setTimeout(() => void this.#letGo([...this.#held]), this.#times.busyAfterMs).unref()
    }
  }

  #ring(lane: string): void {
    const nowMs = performance.now()
    this.#isAlone = nowMs - this.#rungAtMs >= this.#times.silenceMs
    this.#rungAtMs = nowMs
    // Anybody may notify, of whatever comes to mind.
    if (this.#held.has(lane)) this.#rung.add(lane)
    this.#wake?.(lane)
  }

  /** Listens from now on, so that a ring during the locking is not missed. */
  #awaitRing(
    lanes: readonly string[],
    signal: AbortSignal,
  ): { within(delayMs: number): Promise<boolean>; dispose(): void } {
    const { promise, resolve } = Promise.withResolvers<boolean>()
    let timer: NodeJS.Timeout | null = null
    const stop = () => resolve(false)
    signal.addEventListener('abort', stop, { once: true })
    if (signal.aborted) stop()
    this.#wake = (lane) => {
      if (lanes.includes(lane)) resolve(true)
    }
    for (const lane of this.#rung) this.#wake(lane)
    return {
      within(delayMs) {
        timer = setTimeout(() => resolve(false), delayMs)
        return promise
      },
      dispose: () => {
        if (timer !== null) clearTimeout(timer)
        signal.removeEventListener('abort', stop)
        this.#wake = null
      },
    }
  }

  /** Holds exactly these lanes as far as they can be had; true when one was not held before. */
  async #hold(lanes: readonly string[]): Promise<boolean> {
    await this.#letGo([...this.#held].filter((lane) => !lanes.includes(lane)))
    const missing = lanes.filter((lane) => !this.#held.has(lane))
    if (missing.length === 0 || !this.#connection.isConnected) return false
    try {
      const { rows } = await this.#connection.query(
        'select l.lane, pg_try_advisory_lock_shared(jobs.lane_doorbell_key(l.lane)) as locked from unnest($1::text[]) l (lane)',
        [missing],
      )
      const locked = lockedSchema.parse(rows).filter((row) => row.locked)
      for (const { lane } of locked) this.#held.add(lane)
      return locked.length > 0
    } catch {
      // The connection broke: polling goes on, and the next call locks on the new one.
      return false
    }
  }

  async #letGo(lanes: string[]): Promise<void> {
    for (const lane of lanes) this.#held.delete(lane)
    if (lanes.length === 0 || !this.#connection.isConnected) return
    await this.#connection
      .query('select pg_advisory_unlock_shared(jobs.lane_doorbell_key(l.lane)) from unnest($1::text[]) l (lane)', [
        lanes,
      ])
      // A broken connection has let go already.
      .catch(() => {})
  }
}
