import { setTimeout as sleep } from 'node:timers/promises'

export interface IntervalLoopOptions {
  /** Between the end of one turn and the next. */
  intervalMs: number
  /** Does the work once. */
  turn(): Promise<unknown>
  /** A turn that failed ends nothing: the next one comes. */
  onError(error: unknown): void
}

/** Does something again and again until it is stopped, one turn at a time. */
export class IntervalLoop {
  readonly #options: IntervalLoopOptions
  readonly #stopping = new AbortController()
  #loop: Promise<void> | null = null

  constructor(options: IntervalLoopOptions) {
    this.#options = options
  }

  start(): void {
    this.#loop ??= this.#run(this.#stopping.signal)
  }

  /** Resolves when the turn that runs has ended; no other follows. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#loop
  }

  async #run(signal: AbortSignal): Promise<void> {
    const { intervalMs, turn, onError } = this.#options
    while (!signal.aborted) {
      try {
        await turn()
      } catch (error) {
        onError(error)
      }
      await sleep(intervalMs, undefined, { signal }).catch(() => {})
    }
  }
}
