import { z } from 'zod'
import { type AuditRow, auditRowSchema, type AuditSeal, auditSealSchema } from '../domain/audit-chain.ts'
import { type Database, queryRows } from '../platform/db/database.ts'

const SEALS_AT_ONCE = 100
const ROWS_AT_ONCE = 2_000

const ROW_FIELDS = `a.cluster::text, a.xid::text, a.seq::text, a.recorded_by, a.job_id::text, a.identifier, a.entry,
  to_char(a.recorded_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as recorded_at`
const SEAL_FIELDS = `s.number::text, s.cluster::text, s.from_xid::text, s.upto_xid::text, s.entry_count, s.key_id,
  encode(s.entry_digests, 'hex') as entry_digests, encode(s.previous_digest, 'hex') as previous_digest,
  encode(s.digest, 'hex') as digest, encode(s.signature, 'hex') as signature,
  to_char(s.sealed_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as sealed_at`
/** Rows that no seal covers; a row below a seal's end belongs to a seal, whether or not it was there when that was made. */
const IS_UNSEALED = `a.xid >= coalesce(
  (select s.upto_xid from jobs.tb_audit_seal s where s.cluster = a.cluster order by s.upto_xid desc limit 1), '0')`

export interface SealedRange {
  seal: AuditSeal
  /** All that lie in its range now, in the order (xid, seq). */
  rows: AuditRow[]
}

/** Every seal with its rows, oldest first; from the first one that was made at `since` or later. */
export async function* readSealedRanges(db: Database, since: Date | null): AsyncGenerator<SealedRange> {
  for (let after = '0'; ; ) {
    const seals = await queryRows(
      db,
      auditSealSchema,
      `select ${SEAL_FIELDS} from jobs.tb_audit_seal s
       where s.number > $1 and ($2::timestamptz is null or s.sealed_at >= $2) order by s.number limit ${SEALS_AT_ONCE}`,
      [after, since],
    )
    for (const seal of seals) yield { seal, rows: await readRange(db, seal) }
    const last = seals.at(-1)
    if (last === undefined) return
    after = last.number
  }
}

function readRange(db: Database, { cluster, from_xid, upto_xid }: AuditSeal): Promise<AuditRow[]> {
  return queryRows(
    db,
    auditRowSchema,
    `select ${ROW_FIELDS} from jobs.tb_audit a
     where a.cluster = $1 and a.xid >= $2::text::xid8 and a.xid < $3::text::xid8 order by a.xid, a.seq`,
    [cluster, from_xid, upto_xid],
  )
}

/** Rows that wait for their seal, or that nobody seals. */
export async function* readUnsealedRows(db: Database): AsyncGenerator<AuditRow> {
  for (let after = ['-9223372036854775808', '0', '0']; ; ) {
    const rows = await queryRows(
      db,
      auditRowSchema,
      `select ${ROW_FIELDS} from jobs.tb_audit a
       where (a.cluster, a.xid, a.seq) > ($1, $2::text::xid8, $3) and ${IS_UNSEALED}
       order by a.cluster, a.xid, a.seq limit ${ROWS_AT_ONCE}`,
      after,
    )
    yield* rows
    const last = rows.at(-1)
    if (last === undefined) return
    after = [last.cluster, last.xid, last.seq]
  }
}

export interface UnsealedRows {
  count: number
  oldest: Date | null
}

export async function countUnsealedRows(db: Database): Promise<UnsealedRows> {
  const [row] = await queryRows(
    db,
    z.object({ count: z.number(), oldest: z.date().nullable() }),
    `select count(*)::integer as count, min(a.recorded_at) as oldest from jobs.tb_audit a where ${IS_UNSEALED}`,
    [],
  )
  return row ?? { count: 0, oldest: null }
}
