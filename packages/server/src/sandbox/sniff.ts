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
  const format = name.includes('.') ? toFormat(extension) : null
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
}

function beginsWith(magic: Buffer): (head: Buffer) => string | null {
  return (head) => (head.subarray(0, magic.length).equals(magic) ? null : 'does not begin as one')
}

function checkText(_head: Buffer, isText: boolean): string | null {
  return isText ? null : 'is not UTF-8 text'
}

function checkSvg(head: Buffer, isText: boolean): string | null {
  if (!isText) return 'is not UTF-8 text'
  const root =
    /^\uFEFF?\s*(?:<\?xml[^>]*\?>\s*)?(?:<!--[\s\S]*?-->\s*)*(?:<!DOCTYPE svg[^>[]*>\s*)?(?:<!--[\s\S]*?-->\s*)*<svg[\s>]/i
  return root.test(head.toString('utf8')) ? null : 'its root element is not svg'
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
  const root = /<svg\b[^>]*>/i.exec(text)?.[0] ?? ''
  const size = (attribute: string): number | null => {
    const match = new RegExp(`\\s${attribute}\\s*=\\s*["']\\s*([0-9.]{1,16})([a-z]{0,2})\\s*["']`, 'i').exec(root)
    const unit = CSS_PIXELS[match?.[2]?.toLowerCase() ?? 'none']
    return match?.[1] === undefined || unit === undefined ? null : Math.round(Number(match[1]) * unit)
  }
  return { width: size('width'), height: size('height') }
}
