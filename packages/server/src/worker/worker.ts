import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { appendOutput } from '../queue/append-output.ts'
import { claimJobs } from '../queue/claim.ts'
import { type Doorbell, NO_RING } from '../queue/doorbell.ts'
import { registerServices } from '../queue/register-services.ts'
import type { ClaimedJob } from '../queue/types.ts'
import { deregisterWorker, drainWorker, registerWorker } from '../queue/worker-registration.ts'
import type { ServiceRegistry } from '../registry/service-registry.ts'
import { Attempt } from './attempt.ts'
import { Heartbeat } from './heartbeat.ts'
import { HeldAttempts } from './held-attempts.ts'
import { Slots } from './slots.ts'
import type { StorageGuard } from './storage-guard.ts'

const RETRY_AFTER_ERROR_MS = 500
const PAUSE_MS = 1_000

export interface WorkerOptions {
  name: string
  version: string
  /** Jobs in all, and of these the most that may be in sandboxes at once. */
  slots: number
  sandboxSlots: number
  lanes: readonly string[]
  spoolFolder: string
}

export interface WorkerDependencies {
  db: Database
  doorbell: Doorbell
  services: ServiceRegistry
  storageGuard: StorageGuard
  logger: Logger
  /** Runs one attempt to its recorded end. */
  execute(attempt: Attempt): Promise<void>
}

/** Claims jobs for free slots and runs them until it is stopped. Each start is a worker of its own to the database. */
export class Worker {
  readonly #options: WorkerOptions
  readonly #dependencies: WorkerDependencies
  readonly #slots: Slots
  readonly #attempts = new HeldAttempts()
  /** Its name in the database. */
  readonly id = randomUUID()
  readonly #stopping = new AbortController()
  /** Resolves once: a listener per wait would pile up on the signal. */
  readonly #stopped = new Promise<void>((resolve) => {
    this.#stopping.signal.addEventListener('abort', () => resolve(), { once: true })
  })
  readonly #heartbeat: Heartbeat
  #loop: Promise<void> | null = null
  /** Where the claim loop looked last, and what ends its sleep after that. */
  #look = { open: new Set<string>(), sleep: new AbortController() }
  /** What ended the last sleep. */
  #ring = NO_RING
  /** The last look left lanes out. */
  #hasLeftOut = false
  #pausedUntil = 0
  /** What the database was told last; another version of the registry brings another array. */
  #told: ReturnType<ServiceRegistry['registrations']> | null = null

  constructor(options: WorkerOptions, dependencies: WorkerDependencies) {
    this.#options = options
    this.#dependencies = dependencies
    this.#slots = new Slots(options.slots, new Map([['sandbox', options.sandboxSlots]]))
    this.#heartbeat = new Heartbeat({
      ...dependencies,
      workerId: this.id,
      attempts: this.#attempts,
      idleSession: () => dependencies.doorbell.session,
      register: () => this.#register(),
    })
  }

  async start(): Promise<void> {
    if (this.#loop !== null) return
    await this.#register()
    this.#dependencies.doorbell.onCancel((claim) => this.#attempts.get(claim)?.abort('cancelled'))
    this.#heartbeat.start()
    this.#loop = this.#claimLoop()
  }

  /** Claims nothing for a second: what was just claimed could not be run here, and would be claimed again at once. */
  pauseClaims(): void {
    this.#pausedUntil = performance.now() + PAUSE_MS
  }

  /** Claims nothing more and waits up to `drainMs` for the jobs it holds; then hands the rest back, uncounted. */
  async stop(drainMs: number): Promise<void> {
    this.#stopping.abort()
    this.#look.sleep.abort()
    await drainWorker(this.#dependencies.db, this.id).catch(() => {})
    await this.#loop
    const drained = this.#idle()
    const patience = AbortSignal.timeout(drainMs)
    await Promise.race([drained, new Promise((resolve) => patience.addEventListener('abort', resolve, { once: true }))])
    for (const attempt of this.#attempts.values()) attempt.abort('drained')
    await drained
    await this.#heartbeat.stop()
    await deregisterWorker(this.#dependencies.db, this.id).catch((error: unknown) => {
      this.#dependencies.logger.warn({ err: error }, 'the worker could not sign off; its row expires by itself')
    })
  }

  async #claimLoop(): Promise<void> {
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        await this.#claimOnce(signal)
      } catch (error) {
        if (signal.aborted) return
        this.#dependencies.logger.warn({ err: error }, 'claiming failed; trying again')
        await sleep(RETRY_AFTER_ERROR_MS, undefined, { signal }).catch(() => {})
      }
    }
  }

  async #claimOnce(signal: AbortSignal): Promise<void> {
    const { doorbell, storageGuard, logger } = this.#dependencies
    const pauseMs = this.#pausedUntil - performance.now()
    if (pauseMs > 0) {
      await sleep(pauseMs, undefined, { signal })
      return
    }
    await this.#tellServices()
    const lanes = this.#slots.free(this.#options.lanes)
    if (lanes.length === 0) return Promise.race([this.#slots.released(), this.#stopped])
    // At once: a place that becomes free from here on is not among these.
    const look = (this.#look = { open: new Set(lanes.map(({ lane }) => lane)), sleep: new AbortController() })
    if (!(await storageGuard.hasRoom())) {
      logger.error('no room in the spool or the artifact store: claiming is paused')
      await sleep(RETRY_AFTER_ERROR_MS, undefined, { signal })
      return
    }
    // Not twice in a row: what nobody rang for waits for a look at all lanes.
    const mayLeaveOut = this.#ring.isAlone && !this.#hasLeftOut
    this.#ring = NO_RING
    this.#hasLeftOut = false
    let passedOver = lanes
    for (let wanted = lanes; wanted.length > 0; wanted = this.#slots.free(passedOver.map(({ lane }) => lane))) {
      const claimed = await this.#claim(wanted.filter(({ slots }) => slots > 0))
      // A job that comes alone is not kept from the processor by looks for others.
      if (claimed === 'all there was' && mayLeaveOut) {
        this.#hasLeftOut = true
        break
      }
      if (claimed !== 'none') return
      // What got the places had no use for them: the others must not wait for a doorbell that was never set.
      passedOver = wanted.filter(({ slots }) => slots === 0)
    }
    if (signal.aborted || look.sleep.signal.aborted) return
    this.#ring = await doorbell.sleepUntilWork([...look.open], look.sleep.signal)
    for (const lane of this.#ring.lanes) this.#slots.wasRung(lane)
  }

  /** A lane that had no room has some now: the loop, which listens for the others, must not sleep over it. */
  #onFreed(lane: string): void {
    if (!this.#look.open.has(lane)) this.#look.sleep.abort()
  }

  /** Begins what these lanes have for their places. */
  async #claim(lanes: { lane: string; slots: number }[]): Promise<'none' | 'all there was' | 'some'> {
    const { db, doorbell, services } = this.#dependencies
    doorbell.beginLook(lanes.map(({ lane }) => lane))
    const jobs = await claimJobs(db, { workerId: this.id, lanes, services: services.serviceNames() })
    const left = new Map(lanes.map(({ lane, slots }) => [lane, slots]))
    for (const { lane } of jobs) left.set(lane, (left.get(lane) ?? 0) - 1)
    for (const { lane, slots } of lanes) if (left.get(lane) === slots) this.#slots.cameEmpty(lane)
    for (const job of jobs) this.#begin(job)
    if (jobs.length === 0) return 'none'
    return [...left.values()].every((slots) => slots > 0) ? 'all there was' : 'some'
  }

  #begin(job: ClaimedJob): void {
    const { db, execute } = this.#dependencies
    const append = (stream: 'stdout' | 'stderr', offset: number, text: string) =>
      appendOutput(db, { id: job.id, fence: job.fence, stream, offset, text })
    const attempt = new Attempt(job, this.#options.spoolFolder, append)
    this.#attempts.begin(attempt)
    this.#slots.take(job.lane)
    let hasRun = false
    // The next job begins while this one's outcome is written.
    attempt.onRun(() => {
      hasRun = true
      this.#slots.vacate(job.lane)
      this.#onFreed(job.lane)
    })
    void execute(attempt).finally(() => {
      this.#attempts.end(attempt)
      this.#slots.release(job.lane, hasRun)
      this.#onFreed(job.lane)
    })
  }

  async #idle(): Promise<void> {
    while (this.#slots.busy > 0) await this.#slots.released()
  }

  /** Before the first claim under each version of the registry, so that none goes past its limits. */
  async #tellServices(): Promise<void> {
    const registrations = this.#dependencies.services.registrations()
    if (registrations === this.#told) return
    await registerServices(this.#dependencies.db, this.id, registrations)
    this.#told = registrations
  }

  async #register(): Promise<void> {
    const { name, version, lanes, slots } = this.#options
    // What the database forgot of this worker it forgot with its services.
    this.#told = null
    await registerWorker(this.#dependencies.db, {
      id: this.id,
      name,
      pid: process.pid,
      lanes: [...lanes],
      slots,
      version,
    })
    await this.#tellServices()
  }
}
