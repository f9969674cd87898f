import type { ByteRange } from '../../artifacts/artifact-store.ts'

/** What of a file is asked for: all of it, one part, or a part that it does not have. */
export type RangeAnswer = 'all' | ByteRange | 'unsatisfiable'

/** Reads a Range header (RFC 9110). Several ranges, other units and what is misspelt are answered with the whole, as they may be. */
export function readRange(header: string | undefined, size: number): RangeAnswer {
  const [, first, last] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '') ?? []
  if (first === undefined || last === undefined || (first === '' && last === '')) return 'all'
  if (first === '')
    return Number(last) === 0 || size === 0
      ? 'unsatisfiable'
      : { start: Math.max(0, size - Number(last)), end: size - 1 }
  if (last !== '' && Number(last) < Number(first)) return 'all'
  if (Number(first) >= size) return 'unsatisfiable'
  return { start: Number(first), end: last === '' ? size - 1 : Math.min(Number(last), size - 1) }
}

/** Whether an If-None-Match header names this tag, `*` naming all. */
export function matchesTag(header: string | undefined, tag: string): boolean {
  if (header === undefined) return false
  return header.split(',').some((each) => each.trim().replace(/^W\//, '') === tag || each.trim() === '*')
}
