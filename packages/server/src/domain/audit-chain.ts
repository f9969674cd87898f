import { hash } from 'node:crypto'
import { z } from 'zod'

const number = z.string().regex(/^-?\d{1,20}$/)
const sha256 = z.string().regex(/^[0-9a-f]{64}$/)

/** One row of the audit trail, every field as the text that is hashed. Numbers may be larger than a double holds. */
export const auditRowSchema = z.object({
  cluster: number,
  xid: number,
  seq: number,
  /** By the database's clock: UTC with microseconds. */
  recorded_at: z.string(),
  /** The database login that wrote it. */
  recorded_by: z.string(),
  job_id: z.string().nullable(),
  identifier: z.string().nullable(),
  /** JSON text. */
  entry: z.string(),
})
export type AuditRow = z.infer<typeof auditRowSchema>

/** A seal: all rows of `cluster` with from_xid <= xid < upto_xid, and the seal before it, under one signature. */
export const auditSealSchema = z.object({
  number,
  cluster: number,
  from_xid: number,
  upto_xid: number,
  entry_count: z.int(),
  /** 64 hexadecimal digits for each entry, in the order (xid, seq). */
  entry_digests: z.string().regex(/^([0-9a-f]{64})*$/),
  previous_digest: sha256,
  /** By the sealing worker's clock: UTC with milliseconds. */
  sealed_at: z.string(),
  key_id: sha256,
  digest: sha256,
  signature: z.string().regex(/^[0-9a-f]{128}$/),
})
export type AuditSeal = z.infer<typeof auditSealSchema>

/** What the first seal has for the one before it. */
export const NO_SEAL = '0'.repeat(64)

/** What a signature is made over: a line a field, none of which can hold a line's end. */
export interface SealStatement
  extends Pick<
    AuditSeal,
    'number' | 'cluster' | 'from_xid' | 'upto_xid' | 'entry_count' | 'previous_digest' | 'sealed_at' | 'key_id'
  > {
  entries_digest: string
}

export function sealText(seal: SealStatement): string {
  return [
    'ergon-audit-seal/1',
    seal.number,
    seal.cluster,
    seal.from_xid,
    seal.upto_xid,
    seal.entry_count,
    seal.entries_digest,
    seal.previous_digest,
    seal.sealed_at,
    seal.key_id,
    '',
  ].join('\n')
}

/** In hexadecimal; jobs.audit_entry_digest of the database computes the same. */
export function rowDigest(row: AuditRow): string {
  const fixed = ['ergon-audit/1', row.cluster, row.xid, row.seq, row.recorded_at, row.job_id ?? '-'].join(' ')
  return digestOf(`${fixed} ${field(row.recorded_by)}${field(row.identifier)}${field(row.entry)}`)
}

/** Of a seal's `entry_digests`. */
export function entriesDigest(entryDigests: string): string {
  return hash('sha256', Buffer.from(entryDigests, 'hex'), 'hex')
}

export function digestOf(text: string): string {
  return hash('sha256', text, 'hex')
}

/** Length and text, so that no text can look like the field behind it. */
function field(text: string | null): string {
  return text === null ? '-,' : `${Buffer.byteLength(text)}:${text},`
}
