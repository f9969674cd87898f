import path from 'node:path'
import { ARTIFACT_FORMATS } from '@ergon/contract'

/** What follows from a dataset's file name. */
export function describeDataset(name: string): { format: string; contentType: string } {
  const extension = path.extname(name).slice(1).toLowerCase()
  const known = Object.hasOwn(ARTIFACT_FORMATS, extension)
    ? ARTIFACT_FORMATS[extension as keyof typeof ARTIFACT_FORMATS]
    : null
  return known === null
    ? { format: 'binary', contentType: 'application/octet-stream' }
    : { format: extension, contentType: known.contentType }
}

/** Names that are one path component everywhere: jobs see datasets as files, and downloads suggest the name. */
export function isFileName(name: string): boolean {
  if (name === '' || name === '.' || name === '..' || Buffer.byteLength(name) > 255) return false
  // Surrogates that stand alone cannot be stored, and controls would change what a terminal or a header shows.
  return name.isWellFormed() && !/[/\\\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(name)
}
