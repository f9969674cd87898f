import { once } from 'node:events'
import { chmodSync, renameSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'

export type Direction = 'request' | 'answer'
export type Message = Record<string, unknown>

/** Looks at each frame on its way and stops the connection there, in the middle of the frame or right after it. */
export type HoldRule = (direction: Direction, message: Message) => 'within' | 'after' | null

/** A connection that stands still; `done` is what has gone through before. */
export interface HeldConnection {
  seen: readonly string[]
  /** Lets everything through from here on. */
  release(): void
}

/**
 * Stands between the worker and sandboxd and can stop one connection at any step of the protocol, with nothing added
 * to either of them. Whoever is killed meanwhile, the other side learns of it as soon as the connection is released.
 */
export class SandboxdProxy {
  readonly #socketPath: string
  readonly #server: Server
  readonly #connections = new Set<ProxiedConnection>()
  #next: { rule: HoldRule; onHeld: (held: HeldConnection) => void } | null = null

  constructor(socketPath: string) {
    this.#socketPath = socketPath
    this.#server = createServer({ allowHalfOpen: false }, (worker) => this.#accept(worker))
  }

  async start(): Promise<void> {
    renameSync(this.#socketPath, `${this.#socketPath}.real`)
    this.#server.listen(this.#socketPath)
    await once(this.#server, 'listening')
    chmodSync(this.#socketPath, 0o666)
  }

  /** The next connection is stopped where the rule says. */
  holdNext(rule: HoldRule): Promise<HeldConnection> {
    return new Promise((resolve) => {
      this.#next = { rule, onHeld: resolve }
    })
  }

  stop(): void {
    for (const connection of this.#connections) connection.release()
    this.#server.close()
  }

  #accept(worker: Socket): void {
    const sandboxd = connect(`${this.#socketPath}.real`)
    const connection = new ProxiedConnection(worker, sandboxd, this.#next)
    this.#next = null
    this.#connections.add(connection)
  }
}

class ProxiedConnection implements HeldConnection {
  readonly seen: string[] = []
  readonly #pumps: FramePump[]
  readonly #hold: { rule: HoldRule; onHeld: (held: HeldConnection) => void } | null
  #state: 'flowing' | 'held' | 'released'

  constructor(
    worker: Socket,
    sandboxd: Socket,
    hold: { rule: HoldRule; onHeld: (held: HeldConnection) => void } | null,
  ) {
    this.#hold = hold
    this.#state = hold === null ? 'released' : 'flowing'
    this.#pumps = [
      new FramePump(worker, sandboxd, (message) => this.#judge('request', message)),
      new FramePump(sandboxd, worker, (message) => this.#judge('answer', message)),
    ]
  }

  release(): void {
    this.#state = 'released'
    for (const pump of this.#pumps) pump.resume()
  }

  #judge(direction: Direction, message: Message): ReturnType<HoldRule> {
    if (this.#state === 'held') return 'within'
    this.seen.push(String(message['type']))
    if (this.#state === 'released' || this.#hold === null) return null
    const verdict = this.#hold.rule(direction, message)
    if (verdict === null) return null
    this.#state = 'held'
    for (const pump of this.#pumps) pump.pause()
    this.#hold.onHeld(this)
    return verdict
  }
}

type Judge = (message: Message) => ReturnType<HoldRule>

/** Copies whole frames from one socket to another, until it is told to stop at one. */
class FramePump {
  readonly #from: Socket
  readonly #to: Socket
  readonly #judge: Judge
  #buffered: Buffer = Buffer.alloc(0)
  #isPaused = false
  /** Bytes of a frame that was stopped within, still to be sent. */
  #rest: Buffer = Buffer.alloc(0)

  constructor(from: Socket, to: Socket, judge: Judge) {
    this.#from = from
    this.#to = to
    this.#judge = judge
    from.on('error', () => {})
    from.on('data', (chunk: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, chunk])
      this.#pump()
    })
    from.on('close', () => {
      if (!this.#isPaused) this.#finish()
    })
  }

  pause(): void {
    this.#isPaused = true
    this.#from.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#to.write(this.#rest)
    this.#rest = Buffer.alloc(0)
    this.#pump()
    if (this.#from.destroyed) this.#finish()
    else this.#from.resume()
  }

  #finish(): void {
    this.#to.end(this.#buffered)
    this.#to.destroySoon()
  }

  #pump(): void {
    while (!this.#isPaused) {
      const frame = takeFrame(this.#buffered)
      if (frame === null) return
      this.#buffered = this.#buffered.subarray(frame.bytes.length)
      const verdict = this.#judge(frame.message)
      const sent = verdict === 'within' ? Math.floor(frame.bytes.length / 2) : frame.bytes.length
      this.#to.write(frame.bytes.subarray(0, sent))
      this.#rest = frame.bytes.subarray(sent)
    }
  }
}

function takeFrame(buffered: Buffer): { message: Message; bytes: Buffer } | null {
  const end = buffered.indexOf(0x0a)
  if (end < 0) return null
  const message: unknown = JSON.parse(buffered.toString('utf8', 0, end))
  if (typeof message !== 'object' || message === null) throw new Error('not a frame')
  const size = end + 1 + ('bytes' in message ? Number(message.bytes) : 0)
  return buffered.length < size ? null : { message: { ...message }, bytes: buffered.subarray(0, size) }
}
