import { ARTIFACT_FORMATS, type ArtifactFormat } from '@ergon/contract'

/** What the bytes of a file say about themselves. */
export interface SniffedFile {
  format: ArtifactFormat
  width: number | null
  height: number | null
}

export type SniffResult =
  | { ok: true; file: SniffedFile }
  | {
      ok: false
      code: 'FORMAT_NOT_ALLOWED' | 'CONTENT_MISMATCH'
      detail: string
    }

const EXTENSIONS: Record<string, ArtifactFormat> = { jpg: 'jpeg', htm: 'html' }

/** Bytes of a file's beginning that sniffing wants to see; text formats are checked whole while they stream. */
export const SNIFF_BYTES = 64 * 1024

/**
 * Checks a file's claimed format (its extension) against its bytes and the formats the job may leave.
 * `isText` says whether the whole file is UTF-8 without NUL.
 */
export function sniffFile(name: string, head: Buffer, isText: boolean, allowed: ReadonlySet<string>): SniffResult {
  const extension = name.slice(name.lastIndexOf('.') + 1).toLowerCase()
  const format = (name.includes('.') ? toFormat(extension) : null) ?? (allowed.has('binary') ? 'binary' : null)
  if (format === null || !allowed.has(format)) {
    return {
      ok: false,
      code: 'FORMAT_NOT_ALLOWED',
      detail: `"${extension}" is not among the formats this job may leave: ${[...allowed].join(', ')}`,
    }
  }
  const mismatch = CHECKS[format](head, isText)
  if (mismatch !== null)
    return {
      ok: false,
      code: 'CONTENT_MISMATCH',
      detail: `it is called ${format} but ${mismatch}`,
    }
  return { ok: true, file: { format, ...measurePicture(format, head) } }
}

function toFormat(extension: string): ArtifactFormat | null {
  const name = EXTENSIONS[extension] ?? extension
  return Object.hasOwn(ARTIFACT_FORMATS, name) ? (name as ArtifactFormat) : null
}

/** Each check returns what is wrong, or null. */
const CHECKS: Record<ArtifactFormat, (head: Buffer, isText: boolean) => string | null> = {
  png: beginsWith(Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])),
  jpeg: beginsWith(Buffer.from([0xff, 0xd8, 0xff])),
  gif: beginsWith(Buffer.from('GIF8')),
  pdf: beginsWith(Buffer.from('%PDF-')),
  parquet: beginsWith(Buffer.from('PAR1')),
  npy: beginsWith(Buffer.from([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59])),
  svg: checkSvg,
  json: checkText,
  csv: checkText,
  txt: checkText,
  html: checkText,
  binary: () => null,
}

function beginsWith(magic: Buffer): (head: Buffer) => string | null {
  return (head) => (head.subarray(0, magic.length).equals(magic) ? null : 'does not begin as one')
}

function checkText(_head: Buffer, isText: boolean): string | null {
  return isText ? null : 'is not UTF-8 text'
}

function checkSvg(head: Buffer, isText: boolean): string | null {
  if (!isText) return 'is not UTF-8 text'
  const text = head.toString('utf8')
  const root = findRoot(text)
  return /^<svg[\s>]$/i.test(text.slice(root, root + 5)) ? null : 'its root element is not svg'
}

/**
 * Where the root element of an svg begins: behind declaration, comments and document type. Looks at each character
 * once; as one regular expression this backtracks for years over a file of comments.
 */
function findRoot(text: string): number {
  let at = skipPart(text, skipBlanks(text, 0), '<?xml', '?>')
  at = skipPart(text, skipComments(text, at), '<!doctype svg', '>')
  return skipComments(text, at)
}

function skipComments(text: string, from: number): number {
  for (let at = from; ; ) {
    const next = skipPart(text, at, '<!--', '-->')
    if (next === at) return at
    at = next
  }
}

/** Behind the part and the blanks that follow it, or `from` when it is not there, not closed, or a document type with a subset. */
function skipPart(text: string, from: number, begin: string, end: string): number {
  if (text.slice(from, from + begin.length).toLowerCase() !== begin) return from
  const closed = text.indexOf(end, from + begin.length)
  if (closed < 0 || (end === '>' && text.slice(from, closed).includes('['))) return from
  return skipBlanks(text, closed + end.length)
}

function skipBlanks(text: string, from: number): number {
  const visible = /[^\s\uFEFF]/g
  visible.lastIndex = from
  return visible.exec(text)?.index ?? text.length
}

function measurePicture(format: ArtifactFormat, head: Buffer): { width: number | null; height: number | null } {
  if (format === 'png' && head.length >= 24) return { width: head.readUInt32BE(16), height: head.readUInt32BE(20) }
  if (format === 'gif' && head.length >= 10) return { width: head.readUInt16LE(6), height: head.readUInt16LE(8) }
  if (format === 'svg') return measureSvg(head.toString('utf8'))
  return { width: null, height: null }
}

/** CSS pixels for the units an svg root may use; others (per cent, em) have no size of their own. */
const CSS_PIXELS: Record<string, number> = {
  '': 1,
  px: 1,
  pt: 4 / 3,
  in: 96,
  cm: 96 / 2.54,
  mm: 96 / 25.4,
  pc: 16,
}

function measureSvg(text: string): {
  width: number | null
  height: number | null
} {
  const begin = findRoot(text)
  const root = text.slice(begin, text.indexOf('>', begin) + 1)
  const size = (attribute: string): number | null => {
    const match = new RegExp(`\\s${attribute}\\s*=\\s*["']\\s*([0-9.]{1,16})([a-z]{0,2})\\s*["']`, 'i').exec(root)
    const unit = CSS_PIXELS[match?.[2]?.toLowerCase() ?? 'none']
    return match?.[1] === undefined || unit === undefined ? null : Math.round(Number(match[1]) * unit)
  }
  return { width: size('width'), height: size('height') }
}
