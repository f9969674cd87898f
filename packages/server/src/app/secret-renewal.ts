import type { Logger } from '../platform/logger.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import type { RegistryFeed } from './registry-feed.ts'

/** Stores do not say when somebody changes a secret. */
const USUAL_AGE_MS = 300_000
/** However soon a value ends, and however often a worker is refused: a store is not asked without pause. */
const SHORTEST_PAUSE_MS = 10_000

/** The line on a worker's standard output that says that somebody refused a secret of a store. */
export const SECRET_REFUSED_LINE = '{"secretRefused":true}'

/**
 * Keeps the secrets that a worker has from stores fresh: asks again as they end, every five minutes, and when one was
 * refused, which is how a changed secret shows first. The worker is told only of what has changed.
 */
export class SecretRenewal {
  readonly #feed: RegistryFeed
  readonly #tell: (bundle: RegistryBundle) => void
  readonly #logger: Logger
  readonly #pauseMs: number
  #timer: NodeJS.Timeout | null = null
  #askedAtMs = -Infinity
  #isRunning = false
  #isStopped = false

  constructor(
    feed: RegistryFeed,
    tell: (bundle: RegistryBundle) => void,
    logger: Logger,
    pauseMs: number = SHORTEST_PAUSE_MS,
  ) {
    this.#feed = feed
    this.#tell = tell
    this.#logger = logger
    this.#pauseMs = pauseMs
  }

  /** To be called once the registry is read; does nothing for one without secrets of stores. */
  start(): void {
    this.#schedule(USUAL_AGE_MS)
  }

  /** A worker's line of output; one that is taken over can say it as often as it likes. */
  hear(line: string): void {
    if (line === SECRET_REFUSED_LINE) this.#schedule(0)
  }

  stop(): void {
    this.#isStopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #schedule(waitMs: number): void {
    if (this.#isStopped || this.#isRunning) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    const atMs = Math.min(this.#feed.secretsEndAtMs, performance.now() + waitMs)
    const soonestMs = this.#askedAtMs + this.#pauseMs
    const delayMs = Math.max(0, Math.max(atMs, soonestMs) - performance.now())
    this.#timer = setTimeout(() => void this.#renew(), delayMs)
    this.#timer.unref()
  }

  async #renew(): Promise<void> {
    this.#isRunning = true
    this.#askedAtMs = performance.now()
    try {
      const changed = await this.#feed.renewSecrets()
      if (changed !== null && !this.#isStopped) this.#tell(changed)
    } catch (error) {
      this.#logger.error({ err: error }, 'the secrets of a registry could not be renewed')
    } finally {
      this.#isRunning = false
      this.#schedule(USUAL_AGE_MS)
    }
  }
}
