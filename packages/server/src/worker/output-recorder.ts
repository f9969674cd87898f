import { type Redactor, RedactingStream } from '../platform/text/redact.ts'
import { OutputSanitiser } from '../platform/text/sanitise-output.ts'

/** A job younger than this is over before anybody could watch it, so its output is written once, at the end. */
const LIVE_AFTER_MS = 200
const FLUSH_INTERVAL_MS = 200
const RETRY_INTERVAL_MS = 1_000
const FLUSH_CHARACTERS = 16 * 1024

type Stream = 'stdout' | 'stderr'

/** Appends sanitised text to the stored live output; false when the job is not ours any more. */
export type AppendOutput = (stream: Stream, offset: number, text: string) => Promise<boolean>

interface StreamState {
  sanitiser: OutputSanitiser
  redacting: RedactingStream
  text: string
  /** Characters of `text` that are stored, and the byte offset they end at. */
  flushedCharacters: number
  flushedBytes: number
  /** How many characters from there a chunk has that may or may not have been stored: it is sent again as it was. */
  unsureCharacters: number | null
}

/** Gathers a job's bounded output, sanitises it once, hides secrets in it, and stores it live while the job runs. */
export class OutputRecorder {
  readonly #append: AppendOutput
  readonly #redactor: Redactor
  /** Those that something was written to: of most types no job writes any. */
  readonly #streams: Partial<Record<Stream, StreamState>> = {}
  readonly #startedAt = performance.now()
  #timer: NodeJS.Timeout | null = null
  #flushing: Promise<void> = Promise.resolve()
  #stopped = false

  constructor(append: AppendOutput, redactor: Redactor) {
    this.#append = append
    this.#redactor = redactor
  }

  write(stream: Stream, bytes: Buffer): void {
    const state = (this.#streams[stream] ??= newStream(this.#redactor))
    // What is looked for is what is stored, so hiding comes after making visible.
    state.text += state.redacting.push(state.sanitiser.push(bytes))
    const age = performance.now() - this.#startedAt
    const isLarge = state.unsureCharacters === null && state.text.length - state.flushedCharacters >= FLUSH_CHARACTERS
    this.#flushIn(age < LIVE_AFTER_MS ? LIVE_AFTER_MS - age : isLarge ? 0 : FLUSH_INTERVAL_MS)
  }

  #flushIn(wait: number): void {
    if (this.#stopped || this.#timer !== null) return
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#flushing = this.#flushing.then(() => this.#flush())
    }, wait)
  }

  /** Stops live writing and gives the final text, which replaces what was written live. */
  async finish(): Promise<{ stdout: string; stderr: string }> {
    this.#stopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    await this.#flushing
    for (const state of Object.values(this.#streams))
      state.text += state.redacting.push(state.sanitiser.end()) + state.redacting.end()
    return { stdout: this.#streams.stdout?.text ?? '', stderr: this.#streams.stderr?.text ?? '' }
  }

  async #flush(): Promise<void> {
    for (const stream of ['stdout', 'stderr'] as const) {
      const state = this.#streams[stream]
      if (state === undefined) continue
      const end = state.unsureCharacters === null ? undefined : state.flushedCharacters + state.unsureCharacters
      const text = state.text.slice(state.flushedCharacters, end)
      if (text === '' || this.#stopped) continue
      state.unsureCharacters = text.length
      // When the database is away the chunk waits: another one in its place would leave a gap, or a longer one be
      // taken for a repetition of it. At the end the final text holds everything.
      const accepted = await this.#append(stream, state.flushedBytes, text).catch(() => null)
      if (accepted === null) {
        this.#flushIn(RETRY_INTERVAL_MS)
        return
      }
      if (!accepted) {
        this.#stopped = true
        return
      }
      state.unsureCharacters = null
      state.flushedCharacters += text.length
      state.flushedBytes += Buffer.byteLength(text)
      if (state.flushedCharacters < state.text.length) this.#flushIn(FLUSH_INTERVAL_MS)
    }
  }
}

function newStream(redactor: Redactor): StreamState {
  return {
    sanitiser: new OutputSanitiser(),
    redacting: new RedactingStream(redactor),
    text: '',
    flushedCharacters: 0,
    flushedBytes: 0,
    unsureCharacters: null,
  }
}
