import { ErgonError } from '../platform/errors/ergon-error.ts'

const MAX_DEPTH = 64
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** The text of a JSON body; throws BODY_INVALID for what is not UTF-8, or is nested deeper than any of our schemas. */
export function readJsonText(bytes: Buffer): string {
  const text = decode(bytes)
  const depth = depthOf(text)
  if (depth > MAX_DEPTH)
    throw new ErgonError('BODY_INVALID', `the body is nested ${depth} levels deep, at most ${MAX_DEPTH} are taken`)
  return text
}

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new ErgonError('BODY_INVALID', 'the body is not UTF-8')
  }
}

/** How deep brackets are nested outside of texts, whether or not the rest is JSON. */
function depthOf(text: string): number {
  let depth = 0
  let deepest = 0
  let isInText = false
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (isInText) {
      if (character === 0x5c) at++
      else if (character === 0x22) isInText = false
    } else if (character === 0x22) isInText = true
    else if (character === 0x5b || character === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (character === 0x5d || character === 0x7d) depth--
  }
  return deepest
}
