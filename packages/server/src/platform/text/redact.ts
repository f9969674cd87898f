import { MIN_LENGTH } from './secret-forms.ts'
import { SecretSet } from './secret-set.ts'

const MARKER = '[redacted]'

/**
 * Hides registered values in text: as they are, as servers, pages and gateways write them that repeat what they were
 * sent (`secret-forms.ts`), and line by line.
 * It finds what leaked by accident. Whoever wants to smuggle a secret out can encode it in ways that nothing here knows.
 */
export class Redactor {
  #secrets = new SecretSet()

  /** Registers values; those of fewer than six characters are ignored. */
  add(values: Iterable<string>): void {
    this.#secrets = this.#secrets.with(values)
  }

  /** The registered values. */
  get secrets(): SecretSet {
    return this.#secrets
  }

  /** Registers a set that was made before, with the work of finding its values. */
  use(secrets: SecretSet): void {
    this.#secrets = this.#secrets.union(secrets)
  }

  redact(text: string): string {
    if (this.#secrets.isEmpty) return text
    let result = ''
    let at = 0
    for (const { start, end } of this.#secrets.inText.find(text)) {
      result += text.slice(at, start) + MARKER
      at = end
    }
    return at === 0 ? text : result + text.slice(at)
  }

  /** The same for text that may have been cut to a length: the beginning of a value at its very end is hidden too. */
  redactCut(text: string): string {
    if (this.#secrets.isEmpty) return text
    const redacted = this.redact(text)
    const begun = this.#secrets.inText.longestBeginning(redacted)
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
    const { secrets } = this.#redactor
    if (secrets.isEmpty) return piece
    const text = this.#held + piece
    return this.#emit(text, text.length - secrets.inText.longestBeginning(text))
  }

  /** What was kept back, once nothing more comes. */
  end(): string {
    if (this.#held === '') return ''
    return this.#emit(this.#held, this.#held.length)
  }

  /** Gives the text up to `limit`, and holds the rest, which may be the beginning of a value. */
  #emit(text: string, limit: number): string {
    let result = ''
    let at = Math.min(this.#covered, limit)
    let covered = this.#covered
    for (const { start, end } of this.#redactor.secrets.inText.find(text)) {
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

/** Tells whether bytes that come in pieces hold a registered value, in any of its forms and encodings. */
export class SecretFinder {
  readonly #secrets: SecretSet
  #tail = ''

  constructor({ secrets }: Redactor) {
    this.#secrets = secrets
  }

  push(piece: Buffer): boolean {
    const { inBytes } = this.#secrets
    const text = this.#tail + piece.toString('latin1')
    this.#tail = text.slice(Math.max(0, text.length - inBytes.longest + 1))
    return inBytes.has(text)
  }
}
