import { Writable } from 'node:stream'

type Stream = 'stdout' | 'stderr'

export interface BoundedOutputOptions {
  limitBytes: number
  onOutput(stream: Stream, bytes: Buffer): void
  /** Called once, when a stream has said more than it may. */
  onLimit(stream: Stream): void
}

/** Passes a container's two streams on, up to a limit each, and counts all of it. */
export class BoundedOutput {
  readonly bytes: Record<Stream, number> = { stdout: 0, stderr: 0 }
  readonly stdout = this.#sink('stdout')
  readonly stderr = this.#sink('stderr')
  readonly #options: BoundedOutputOptions
  #isOver = false

  constructor(options: BoundedOutputOptions) {
    this.#options = options
  }

  #sink(stream: Stream): Writable {
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        this.#receive(stream, chunk)
        done()
      },
    })
  }

  #receive(stream: Stream, chunk: Buffer): void {
    const { limitBytes, onOutput, onLimit } = this.#options
    const room = limitBytes - this.bytes[stream]
    this.bytes[stream] += chunk.length
    if (room > 0) onOutput(stream, Buffer.from(chunk.subarray(0, room)))
    if (this.bytes[stream] <= limitBytes || this.#isOver) return
    this.#isOver = true
    onLimit(stream)
  }
}
