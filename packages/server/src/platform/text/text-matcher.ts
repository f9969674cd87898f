export interface Span {
  start: number
  end: number
}

/** Hashes of two signs, which is what a text is skipped by. */
const BUCKETS = 4_096
const BLOCK = 2

/**
 * Finds any of many texts in another in one pass, however many they are (Wu and Manber's search): two signs tell how far
 * the next of them can be, at the most the length of the shortest. Each has two signs or more.
 */
export class TextMatcher {
  readonly longest: number
  readonly #shortest: number
  readonly #shifts = new Uint8Array(BUCKETS)
  /** Those whose beginning, as long as the shortest, ends with two signs of that hash; longest first. */
  readonly #candidates = new Map<number, string[]>()
  readonly #byFirstSign = new Map<number, string[]>()

  constructor(patterns: readonly string[]) {
    const lengths = patterns.map(({ length }) => length)
    this.longest = Math.max(0, ...lengths)
    this.#shortest = Math.min(255, ...lengths)
    this.#shifts.fill(this.#shortest - BLOCK + 1)
    for (const pattern of patterns.toSorted((a, b) => b.length - a.length)) this.#add(pattern)
  }

  #add(pattern: string): void {
    const last = this.#shortest - 1
    for (let at = 1; at <= last; at++) {
      const bucket = bucketAt(pattern, at)
      this.#shifts[bucket] = Math.min(this.#shifts[bucket] ?? 0, last - at)
    }
    listIn(this.#candidates, bucketAt(pattern, last)).push(pattern)
    listIn(this.#byFirstSign, pattern.charCodeAt(0)).push(pattern)
  }

  has(text: string): boolean {
    return this.#next(text, 0) !== null
  }

  /** Where they stand, in order, those that touch or overlap as one. */
  find(text: string): Span[] {
    const spans: Span[] = []
    let last: Span | undefined
    for (let span = this.#next(text, 0); span !== null; span = this.#next(text, span.start + 1)) {
      if (last !== undefined && span.start <= last.end) last.end = Math.max(last.end, span.end)
      else spans.push((last = { ...span }))
    }
    return spans
  }

  /** The first at or behind `from`, and of those that begin there the longest. */
  #next(text: string, from: number): Span | null {
    const last = this.#shortest - 1
    for (let at = from + last; at < text.length; ) {
      const bucket = bucketAt(text, at)
      const shift = this.#shifts[bucket] ?? 1
      if (shift > 0) {
        at += shift
        continue
      }
      const start = at - last
      const found = this.#candidates.get(bucket)?.find((pattern) => text.startsWith(pattern, start))
      if (found !== undefined) return { start, end: start + found.length }
      at++
    }
    return null
  }

  /** The length of the longest end of the text that one of them begins with, without being all of it. */
  longestBeginning(text: string): number {
    for (let at = Math.max(0, text.length - this.longest + 1); at < text.length; at++) {
      const candidates = this.#byFirstSign.get(text.charCodeAt(at))
      if (candidates === undefined) continue
      const end = text.slice(at)
      if (candidates.some((pattern) => pattern.length > end.length && pattern.startsWith(end))) return end.length
    }
    return 0
  }
}

function bucketAt(text: string, at: number): number {
  return (text.charCodeAt(at - 1) * 61 + text.charCodeAt(at)) & (BUCKETS - 1)
}

function listIn(lists: Map<number, string[]>, key: number): string[] {
  const list = lists.get(key) ?? []
  lists.set(key, list)
  return list
}
