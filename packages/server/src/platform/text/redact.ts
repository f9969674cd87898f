import { formsOf, MIN_LENGTH } from './secret-forms.ts'

const MARKER = '[redacted]'

/**
 * Hides registered values in text: as they are, as servers, pages and gateways write them that repeat what they were
 * sent (`secret-forms.ts`), and line by line.
 * It finds what leaked by accident. Whoever wants to smuggle a secret out can encode it in ways that nothing here knows.
 */
export class Redactor {
  /** Longest first. */
  #patterns: readonly string[] = []
  #shortest = Infinity

  /** Registers values; those of fewer than six characters are ignored. */
  add(values: Iterable<string>): void {
    const patterns = new Set(this.#patterns)
    for (const value of values) if (value.length >= MIN_LENGTH) for (const form of formsOf(value)) patterns.add(form)
    this.#patterns = [...patterns].toSorted((a, b) => b.length - a.length)
    this.#shortest = this.#patterns.at(-1)?.length ?? Infinity
  }

  get patterns(): readonly string[] {
    return this.#patterns
  }

  redact(text: string): string {
    if (text.length < this.#shortest || !this.#patterns.some((pattern) => text.includes(pattern))) return text
    const stream = new RedactingStream(this)
    return stream.push(text) + stream.end()
  }

  /** The same for text that may have been cut to a length: the beginning of a value at its very end is hidden too. */
  redactCut(text: string): string {
    const redacted = this.redact(text)
    const begun = longestBeginning(redacted, this.#patterns)
    return begun < MIN_LENGTH ? redacted : redacted.slice(0, -begun) + MARKER
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
    // Only where the first sign stands can the value begin, and the first place found is the longest end.
    const first = pattern.charAt(0)
    const from = Math.max(0, text.length - pattern.length + 1)
    for (let at = text.indexOf(first, from); at >= 0 && text.length - at > longest; at = text.indexOf(first, at + 1))
      if (pattern.startsWith(text.slice(at))) longest = text.length - at
  }
  return longest
}
