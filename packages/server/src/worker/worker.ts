import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import type { Logger } from '../platform/logger.ts'
import { appendOutput } from '../queue/append-output.ts'
import { claimJobs } from '../queue/claim.ts'
import type { Doorbell } from '../queue/doorbell.ts'
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
    const { db, doorbell, services, storageGuard, logger } = this.#dependencies
    const pauseMs = this.#pausedUntil - performance.now()
    if (pauseMs > 0) {
      await sleep(pauseMs, undefined, { signal })
      return
    }
    await this.#tellServices()
    const lanes = this.#slots.free(this.#options.lanes)
    if (lanes.length === 0) return Promise.race([this.#slots.released(), this.#stopped])
    if (!(await storageGuard.hasRoom())) {
      logger.error('no room in the spool or the artifact store: claiming is paused')
      await sleep(RETRY_AFTER_ERROR_MS, undefined, { signal })
      return
    }
    const wanted = lanes.filter(({ slots }) => slots > 0)
    const jobs = await claimJobs(db, { workerId: this.id, lanes: wanted, services: services.serviceNames() })
    for (const job of jobs) this.#begin(job)
    if (jobs.length === 0)
      await doorbell.sleepUntilWork(
        lanes.map(({ lane }) => lane),
        signal,
      )
  }

  #begin(job: ClaimedJob): void {
    const { db, execute } = this.#dependencies
    const append = (stream: 'stdout' | 'stderr', offset: number, text: string) =>
      appendOutput(db, { id: job.id, fence: job.fence, stream, offset, text })
    const attempt = new Attempt(job, this.#options.spoolFolder, append)
    this.#attempts.begin(attempt)
    this.#slots.take(job.lane)
    void execute(attempt).finally(() => {
      this.#attempts.end(attempt)
      this.#slots.release(job.lane)
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
