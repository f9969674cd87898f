import { ErgonError } from '../platform/errors/ergon-error.ts'

const MAX_DEPTH = 64
/** Digits that exponents stand for, in all: the database writes numbers out. A job's input has a megabyte. */
const MAX_WRITTEN_OUT = 1_048_576
const BYTE_ORDER_MARK = 0xfeff
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of a JSON body; throws BODY_INVALID for what is not UTF-8, or is nested deeper than any of our schemas. */
export function readJsonText(bytes: Buffer): string {
  const text = decode(bytes)
  const { depth, writtenOut } = measure(text)
  if (depth > MAX_DEPTH)
    throw new ErgonError('BODY_INVALID', `the body is nested ${depth} levels deep, at most ${MAX_DEPTH} are taken`)
  if (writtenOut > MAX_WRITTEN_OUT)
    throw new ErgonError(
      'BODY_INVALID',
      `the body has numbers with exponents that are ${writtenOut} digits when they are written out, at most ${MAX_WRITTEN_OUT} are taken`,
    )
  return text
}

function decode(bytes: Buffer): string {
  try {
    const text = utf8.decode(bytes)
    if (text.charCodeAt(0) !== BYTE_ORDER_MARK) return text
  } catch {
    throw new ErgonError('BODY_INVALID', 'the body is not UTF-8')
  }
  throw new ErgonError('BODY_INVALID', 'the body begins with a byte order mark, which JSON does not have')
}

/**
 * How deep brackets are nested outside of texts, and how many digits the exponents of numbers stand for, whether or not the
 * rest is JSON.
 */
function measure(text: string): { depth: number; writtenOut: number } {
  let depth = 0
  let deepest = 0
  let writtenOut = 0
  let isInText = false
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (isInText) {
      if (character === 0x5c) at++
      else if (character === 0x22) isInText = false
    } else if (character === 0x22) isInText = true
    else if (character === 0x5b || character === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (character === 0x5d || character === 0x7d) depth--
    else if ((character | 0x20) === 0x65) writtenOut += exponentAt(text, at)
  }
  return { depth: deepest, writtenOut }
}

/** What follows an e, without its sign; that of `true` and `false` is followed by none. */
function exponentAt(text: string, at: number): number {
  let exponent = 0
  const signed = text.charCodeAt(at + 1)
  for (let next = signed === 0x2b || signed === 0x2d ? at + 2 : at + 1; next < text.length; next++) {
    const digit = text.charCodeAt(next) - 0x30
    if (digit < 0 || digit > 9) break
    exponent = Math.min(MAX_WRITTEN_OUT + 1, exponent * 10 + digit)
  }
  return exponent
}
