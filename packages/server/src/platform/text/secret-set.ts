import { bytesOf, formsOf, MIN_LENGTH } from './secret-forms.ts'
import { TextMatcher } from './text-matcher.ts'

/** Sets that were made of this one by registering more: a service's jobs register the same values again and again. */
const MAX_REMEMBERED = 4

/** Values that must not be shown, with what finds them in text and in bytes. Made once, shared by the jobs of a service. */
export class SecretSet {
  readonly #values: ReadonlySet<string>
  readonly #larger = new Map<string, SecretSet>()
  #inText: TextMatcher | null = null
  #inBytes: TextMatcher | null = null

  /** Values of fewer than six characters are ignored. */
  constructor(values: Iterable<string> = []) {
    this.#values = new Set([...values].filter((value) => value.length >= MIN_LENGTH))
  }

  get isEmpty(): boolean {
    return this.#values.size === 0
  }

  /** The set with these values too; itself when it has them all. */
  with(values: Iterable<string>): SecretSet {
    const added = [...values].filter((value) => value.length >= MIN_LENGTH && !this.#values.has(value))
    if (added.length === 0) return this
    const key = JSON.stringify(added)
    const known = this.#larger.get(key)
    if (known !== undefined) return known
    const larger = new SecretSet([...this.#values, ...added])
    const [oldest] = this.#larger.keys()
    if (this.#larger.size === MAX_REMEMBERED && oldest !== undefined) this.#larger.delete(oldest)
    this.#larger.set(key, larger)
    return larger
  }

  /** The set with those of another. */
  union(other: SecretSet): SecretSet {
    return this.isEmpty ? other : this.with(other.#values)
  }

  /** What finds them in text. */
  get inText(): TextMatcher {
    this.#inText ??= new TextMatcher([...this.#forms()])
    return this.#inText
  }

  /** What finds them in bytes that are read as Latin-1, a sign each. */
  get inBytes(): TextMatcher {
    this.#inBytes ??= new TextMatcher([...new Set([...this.#forms()].flatMap(bytesOf))])
    return this.#inBytes
  }

  #forms(): Set<string> {
    return new Set([...this.#values].flatMap(formsOf))
  }
}
