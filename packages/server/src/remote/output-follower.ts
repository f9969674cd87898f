import type { JobOutputEvent } from '@ergon/contract'
import type { OutputChunk, OutputPosition, OutputStream } from '../control/read-output.ts'

/**
 * Makes chunks of what a stream of events tells from a job's beginning, for a reader who has some of it already: no byte
 * comes twice. Another attempt, and one that begins anew (an offset before what was told), is read from its beginning.
 */
export class OutputFollower {
  #position: OutputPosition
  /** How far the stream itself has told each stream of the attempt. */
  #told: Record<OutputStream, number> = { stdout: 0, stderr: 0 }

  constructor(from: OutputPosition) {
    this.#position = from
  }

  get position(): OutputPosition {
    return this.#position
  }

  /** What is new of it; null where the reader has it. */
  take(stream: OutputStream, { attempt, offset, text }: JobOutputEvent): OutputChunk | null {
    if (attempt < this.#position.attempt) return null
    if (attempt > this.#position.attempt || offset < this.#told[stream]) this.#begin(attempt)
    const bytes = Buffer.from(text, 'utf8')
    this.#told[stream] = offset + bytes.length
    const had = this.#position[stream]
    if (this.#told[stream] <= had) return null
    const news = bytes.subarray(Math.max(0, had - offset))
    this.#position = { ...this.#position, [stream]: this.#told[stream] }
    return { attempt, stream, offset: Math.max(had, offset), bytes: news }
  }

  #begin(attempt: number): void {
    this.#position = { attempt, stdout: 0, stderr: 0, beganAt: null }
    this.#told = { stdout: 0, stderr: 0 }
  }
}
