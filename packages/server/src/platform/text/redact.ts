const MARKER = '[redacted]'
/** Shorter values are found everywhere, so that hiding them would hide everything. */
const MIN_LENGTH = 6
/** A line of a key file that is as long as this is a secret by itself. */
const MIN_LINE_LENGTH = 16

/**
 * Hides registered values in text: as they are, percent-encoded, in base64, escaped as JSON does, and line by line.
 * It finds what leaked by accident. Whoever wants to smuggle a secret out can encode it in ways that nothing here knows.
 */
export class Redactor {
  /** Longest first. */
  #patterns: readonly string[] = []

  /** Registers values; those of fewer than six characters are ignored. */
  add(values: Iterable<string>): void {
    const patterns = new Set(this.#patterns)
    for (const value of values) if (value.length >= MIN_LENGTH) for (const form of formsOf(value)) patterns.add(form)
    this.#patterns = [...patterns].toSorted((a, b) => b.length - a.length)
  }

  get patterns(): readonly string[] {
    return this.#patterns
  }

  redact(text: string): string {
    if (!this.#patterns.some((pattern) => text.includes(pattern))) return text
    const stream = new RedactingStream(this)
    return stream.push(text) + stream.end()
  }
}

/** Hides the values of a redactor in a text that comes in pieces. Keeps back less than the longest value. */
export class RedactingStream {
  readonly #redactor: Redactor
  #held = ''
  /** How many characters of `#held` belong to a value whose marker was given out already. */
  #covered = 0

  constructor(redactor: Redactor) {
    this.#redactor = redactor
  }

  push(piece: string): string {
    if (this.#held === '' && this.#redactor.patterns.length === 0) return piece
    const text = this.#held + piece
    return this.#emit(text, text.length - longestBeginning(text, this.#redactor.patterns))
  }

  /** What was kept back, once nothing more comes. */
  end(): string {
    return this.#emit(this.#held, this.#held.length)
  }

  /** Gives the text up to `limit`, and holds the rest, which may be the beginning of a value. */
  #emit(text: string, limit: number): string {
    let result = ''
    let at = Math.min(this.#covered, limit)
    let covered = this.#covered
    for (const { start, end } of findValues(text, this.#redactor.patterns)) {
      if (start >= limit) break
      if (start > covered || (covered === 0 && start === 0)) result += text.slice(at, start) + MARKER
      at = Math.max(at, Math.min(end, limit))
      covered = Math.max(covered, end)
    }
    result += text.slice(at, limit)
    this.#held = text.slice(limit)
    this.#covered = Math.max(0, covered - limit)
    return result
  }
}

/** Tells whether bytes that come in pieces hold a registered value. */
export class SecretFinder {
  readonly #patterns: readonly Buffer[]
  readonly #keep: number
  #tail: Buffer = Buffer.alloc(0)

  constructor({ patterns }: Redactor) {
    this.#patterns = patterns.map((pattern) => Buffer.from(pattern))
    this.#keep = Math.max(0, ...this.#patterns.map(({ length }) => length - 1))
  }

  push(piece: Buffer): boolean {
    const bytes = Buffer.concat([this.#tail, piece])
    this.#tail = bytes.subarray(Math.max(0, bytes.length - this.#keep))
    return this.#patterns.some((pattern) => bytes.includes(pattern))
  }
}

interface Span {
  start: number
  end: number
}

/** Where values stand, in order, those that touch or overlap as one. */
function findValues(text: string, patterns: readonly string[]): Span[] {
  const spans: Span[] = []
  for (const pattern of patterns) {
    for (let start = text.indexOf(pattern); start >= 0; start = text.indexOf(pattern, start + 1))
      spans.push({ start, end: start + pattern.length })
  }
  const merged: Span[] = []
  for (const { start, end } of spans.toSorted((a, b) => a.start - b.start)) {
    const last = merged.at(-1)
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end)
    else merged.push({ start, end })
  }
  return merged
}

/** The length of the longest end of the text that a value begins with, without being all of it. */
function longestBeginning(text: string, patterns: readonly string[]): number {
  let longest = 0
  for (const pattern of patterns) {
    for (let length = Math.min(pattern.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(pattern.slice(0, length))) longest = length
    }
  }
  return longest
}

function formsOf(value: string): string[] {
  const forms = [value, JSON.stringify(value).slice(1, -1), ...base64Of(value)]
  if (value.isWellFormed()) forms.push(encodeURIComponent(value))
  if (value.includes('\n')) forms.push(...value.split(/\r?\n/).filter((line) => line.trim().length >= MIN_LINE_LENGTH))
  return forms
}

/** Without the last character where that depends on what follows the value. */
function base64Of(value: string): string[] {
  const bytes = Buffer.from(value)
  const whole = Math.floor((bytes.length * 8) / 6)
  return [bytes.toString('base64').slice(0, whole), bytes.toString('base64url').slice(0, whole)]
}
