import type { FastifyReply } from 'fastify'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { Principal } from '../principal.ts'
import { EventStream, type StreamTimes } from './event-stream.ts'

export interface StreamLimits extends StreamTimes {
  /** Open streams of one token, and of all. */
  perToken: number
  total: number
  /** How long a stream lives before its client has to come back. */
  lifetimeMs: number
}

export const STREAM_LIMITS: StreamLimits = {
  perToken: 1_000,
  total: 4_000,
  lifetimeMs: 10 * 60_000,
  heartbeatMs: 15_000,
  writeTimeoutMs: 60_000,
}

const TEND_MS = 1_000
/** How often it is asked whether the tokens of open streams still hold. */
const TOKEN_CHECK_MS = 2_000
/**
 * Probes for other sides that have vanished begin after so long a silence, and end ten seconds later: before a heartbeat,
 * since a kernel that has bytes to repeat probes no more, and gives up after a quarter of an hour.
 */
const PROBE_AFTER_MS = 3_000
/** Clients that lose their streams together come back within this time, not all at once. */
const SPREAD_MS = 2_000

interface OpenStreamsOptions {
  limits: StreamLimits
  /** Throws when that cannot be known. */
  stillHolds(principal: Principal): Promise<boolean>
  onError(error: unknown): void
}

interface Open {
  stream: EventStream
  principal: Principal
  endsAt: number
}

/** Every stream of this process: how many there may be, how long each lives, and what keeps or ends it. */
export class OpenStreams {
  readonly #options: OpenStreamsOptions
  readonly #open = new Set<Open>()
  /** Ended, and their connections not given back yet. */
  readonly #closing = new Set<EventStream>()
  readonly #counts = new Map<string, number>()
  #timer: NodeJS.Timeout | null = null
  #checkedAt = 0
  #isChecking = false
  #failures = 0
  #isStopped = false

  constructor(options: OpenStreamsOptions) {
    this.#options = options
  }

  /** Answers with a stream. Throws TOO_MANY_STREAMS, STREAMS_EXHAUSTED. */
  open(reply: FastifyReply, principal: Principal): EventStream {
    this.#requireRoom(principal)
    reply.hijack()
    const { raw } = reply
    raw.socket?.setNoDelay(true)
    raw.socket?.setKeepAlive(true, PROBE_AFTER_MS)
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) raw.setHeader(name, value)
    raw.setHeader('content-type', 'text/event-stream')
    // nginx would gather events.
    raw.setHeader('x-accel-buffering', 'no')
    raw.writeHead(200)
    raw.write(`retry: ${SPREAD_MS}\n\n`)
    const stream = new EventStream(raw, this.#options.limits)
    const { lifetimeMs } = this.#options.limits
    // Streams that were opened together end one after the other.
    const open = { stream, principal, endsAt: performance.now() + lifetimeMs * (1 - Math.random() / 10) }
    this.#open.add(open)
    this.#counts.set(principal.tokenId, (this.#counts.get(principal.tokenId) ?? 0) + 1)
    stream.onClose(() => this.#forget(open))
    this.#timer ??= setInterval(() => this.#tend(), TEND_MS)
    return stream
  }

  /** Ends every stream at once; no other is opened. */
  stop(): void {
    this.#isStopped = true
    for (const { stream } of [...this.#open]) stream.end(soon())
  }

  #requireRoom({ tokenId, tokenName }: Principal): void {
    const { perToken, total } = this.#options.limits
    if (this.#isStopped) throw new ErgonError('STREAMS_EXHAUSTED', 'this API process is about to stop')
    if (this.#open.size >= total)
      throw new ErgonError('STREAMS_EXHAUSTED', `this API process has ${total} open streams, as many as it may have`)
    if ((this.#counts.get(tokenId) ?? 0) >= perToken)
      throw new ErgonError(
        'TOO_MANY_STREAMS',
        `the token "${tokenName}" has ${perToken} open streams, as many as one may have in a process: close some`,
      )
  }

  #forget(open: Open): void {
    this.#open.delete(open)
    const { tokenId } = open.principal
    const left = (this.#counts.get(tokenId) ?? 1) - 1
    if (left === 0) this.#counts.delete(tokenId)
    else this.#counts.set(tokenId, left)
    if (!open.stream.isClosed) this.#closing.add(open.stream)
  }

  #tend(): void {
    const now = performance.now()
    for (const { stream, endsAt } of [...this.#open]) {
      if (now > endsAt) stream.end(soon())
      else stream.tend(now)
    }
    for (const stream of this.#closing) {
      if (stream.isClosed) this.#closing.delete(stream)
      else stream.tend(now)
    }
    if (now - this.#checkedAt >= TOKEN_CHECK_MS && !this.#isChecking) void this.#checkTokens()
    if (this.#timer !== null && this.#open.size === 0 && this.#closing.size === 0) {
      clearInterval(this.#timer)
      this.#timer = null
    }
  }

  async #checkTokens(): Promise<void> {
    this.#isChecking = true
    try {
      const principals = new Map([...this.#open].map(({ principal }) => [principal.tokenId, principal]))
      for (const [tokenId, principal] of principals) {
        if (await this.#options.stillHolds(principal)) continue
        for (const open of [...this.#open]) if (open.principal.tokenId === tokenId) open.stream.end()
      }
      this.#failures = 0
    } catch (error) {
      // Whether a token holds is not known while the database is away; nothing can be read then either.
      if (this.#failures++ === 0) this.#options.onError(error)
    } finally {
      this.#checkedAt = performance.now()
      this.#isChecking = false
    }
  }
}

function soon(): number {
  return Math.round(200 + Math.random() * SPREAD_MS)
}
