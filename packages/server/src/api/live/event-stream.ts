import { toJson } from '../job-json.ts'
import type { ServerResponse } from 'node:http'

export interface StreamEvent {
  type: string
  /** The whole position of a reader that has this event. */
  id: string
  data: unknown
}

export interface StreamTimes {
  /** How often a stream that says nothing shows that it is there. */
  heartbeatMs: number
  /** How long the other side may take for what was written last. */
  writeTimeoutMs: number
}

/** Longer than what a half-closed connection needs to be closed by both sides. */
const CLOSE_GRACE_MS = 5_000

/**
 * One stream of server-sent events. It has no queue: who writes waits until the socket took it, so that what a slow client
 * has not fetched stays in the database.
 */
export class EventStream {
  readonly #response: ServerResponse
  readonly #times: StreamTimes
  readonly #onClose: (() => void)[] = []
  #waitingSince: number | null = null
  #wroteAt: number
  #closeBy: number | null = null
  #isOver = false

  constructor(response: ServerResponse, times: StreamTimes) {
    this.#response = response
    this.#times = times
    this.#wroteAt = performance.now()
    // Who went while the answer was prepared: that was told before we listened.
    this.#isOver = response.destroyed
    response.once('close', () => this.#finish())
    response.on('error', () => this.#finish())
  }

  get isOver(): boolean {
    return this.#isOver
  }

  /** Calls when the stream is over, whoever ended it. */
  onClose(listener: () => void): void {
    if (this.#isOver) listener()
    else this.#onClose.push(listener)
  }

  /** Resolves when the socket took it: true, or when the stream is over: false. */
  send({ type, id, data }: StreamEvent): Promise<boolean> {
    return this.#write(`event: ${type}\nid: ${id}\ndata: ${toJson(data)}\n\n`)
  }

  /** Tells where the reader is; a client keeps it and raises no event. */
  mark(id: string): Promise<boolean> {
    return this.#write(`id: ${id}\n\n`)
  }

  /** Ends the stream; the client comes back after `retryMs`, or when it wants to. */
  end(retryMs?: number): void {
    if (this.#isOver) return
    this.#closeBy = performance.now() + CLOSE_GRACE_MS
    // What was written to a socket that takes nothing would be kept.
    if (this.#waitingSince === null && retryMs !== undefined) this.#response.end(`retry: ${retryMs}\n\n`)
    else this.#response.end()
    this.#finish()
  }

  /** Called now and then: shows that the stream is there, and cuts one whose other side takes nothing. */
  tend(now: number): void {
    if (this.#closeBy !== null) {
      if (now > this.#closeBy) this.#response.destroy()
    } else if (this.#waitingSince !== null) {
      if (now - this.#waitingSince > this.#times.writeTimeoutMs) this.#response.destroy()
    } else if (now - this.#wroteAt >= this.#times.heartbeatMs) void this.#write(':\n\n')
  }

  /** Whether the connection is given back. */
  get isClosed(): boolean {
    return this.#response.destroyed || this.#response.writableFinished
  }

  #write(text: string): Promise<boolean> {
    if (this.#isOver) return Promise.resolve(false)
    this.#wroteAt = performance.now()
    if (this.#response.write(text)) return Promise.resolve(true)
    this.#waitingSince ??= this.#wroteAt
    return new Promise((resolve) => {
      const settle = () => {
        this.#response.off('drain', settle)
        this.#response.off('close', settle)
        this.#waitingSince = null
        resolve(!this.#isOver)
      }
      this.#response.once('drain', settle)
      this.#response.once('close', settle)
    })
  }

  #finish(): void {
    if (this.#isOver) return
    this.#isOver = true
    for (const listener of this.#onClose.splice(0)) listener()
  }
}
