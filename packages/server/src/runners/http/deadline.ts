/** Why an exchange was ended from our side. */
export type EndReason =
  /** The job was cancelled, lost, or its worker stops. */
  | 'cancelled'
  /** The job's own time is over. */
  | 'wall'
  /** The time that the service gives one request, retries included, is over. */
  | 'total'

/** The clock of one attempt, with the signal that ends it. */
export class Deadline {
  readonly startedAt = performance.now()
  readonly wallMs: number
  readonly #endsAt: number
  readonly #controller = new AbortController()
  readonly #timer: NodeJS.Timeout
  #reason: EndReason | null = null

  constructor(wallMs: number, totalMs: number) {
    this.wallMs = wallMs
    this.#endsAt = this.startedAt + Math.min(wallMs, totalMs)
    this.#timer = setTimeout(() => this.end(wallMs <= totalMs ? 'wall' : 'total'), Math.min(wallMs, totalMs))
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  get reason(): EndReason | null {
    return this.#reason
  }

  get elapsedMs(): number {
    return performance.now() - this.startedAt
  }

  get remainingMs(): number {
    return this.#endsAt - performance.now()
  }

  /** Ends the attempt; the first reason counts. */
  end(reason: EndReason): void {
    this.#reason ??= reason
    this.#controller.abort()
  }

  clear(): void {
    clearTimeout(this.#timer)
  }
}
