import { JOB_ENDS, type JobEndEvent } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { SUMMARY_COLUMNS, summaryRowSchema, toSummary } from './job-view.ts'

/**
 * A place in the audit trail. Transaction ids mean nothing in another cluster, and identity values commit out of order:
 * only below the oldest transaction that still runs the order is final.
 */
export interface TrailPosition {
  cluster: string
  xid: bigint
  seq: bigint
}

export interface JobEnd {
  position: TrailPosition
  data: JobEndEvent
}

/** What was behind a position, and where to go on. */
export interface EndsReading {
  ends: JobEnd[]
  next: TrailPosition
  /** There may be more at once. */
  hasMore: boolean
}

const positionRowSchema = z.object({
  cluster: z.string(),
  horizon: z.coerce.bigint(),
  newest_xid: z.coerce.bigint().nullable().catch(null),
  newest_seq: z.coerce.bigint().nullable().catch(null),
})

/** Where the trail is at this moment (what was committed before lies behind it), and what changes when it grows. */
export async function readTrailPosition(db: Database): Promise<{ now: TrailPosition; version: string }> {
  const [row] = await queryRows(
    db,
    positionRowSchema,
    'select cluster, horizon, newest_xid, newest_seq from jobs.audit_position()',
    [],
  )
  if (row === undefined) throw new Error('the database does not say where its audit trail is')
  const { cluster, horizon, newest_xid, newest_seq } = row
  return { now: { cluster, xid: horizon, seq: 0n }, version: `${cluster}.${newest_xid ?? ''}.${newest_seq ?? ''}` }
}

const nextSchema = z.object({
  next_cluster: z.string(),
  next_xid: z.coerce.bigint(),
  next_seq: z.coerce.bigint(),
  has_more: z.boolean(),
})
const endSchema = summaryRowSchema.extend({
  xid: z.coerce.bigint(),
  seq: z.coerce.bigint(),
  recorded_at: z.date(),
  event: z.enum(JOB_ENDS),
  attempt: z.number().nullable(),
  outcome: z.string().nullable(),
  category: z.string().nullable(),
  code: z.string().nullable(),
})
/** Nothing was found, or its job is gone. */
const noEndSchema = z.object({ job_id: z.null() })

/** Ends of attempts behind a position, in the order in which their transactions became final; looks at `most` entries. */
export async function readJobEnds(db: Database, from: TrailPosition, most: number): Promise<EndsReading> {
  const { rows } = await db.query(
    `select f.next_cluster, f.next_xid, f.next_seq, f.has_more, f.xid, f.seq, f.recorded_at, f.event, f.attempt, f.outcome,
            f.category, f.code, ${SUMMARY_COLUMNS}
     from jobs.list_job_ends($1, $2, $3, $4) f
     left join jobs.tb_job_run j on j.id = f.job_id
     order by f.xid, f.seq`,
    [from.cluster, String(from.xid), String(from.seq), most],
  )
  const { next_cluster: cluster, next_xid: xid, next_seq: seq, has_more: hasMore } = nextSchema.parse(rows[0])
  const ends: JobEnd[] = []
  for (const row of rows) {
    if (noEndSchema.safeParse(row).success) continue
    const end = endSchema.parse(row)
    ends.push({
      position: { cluster: from.cluster, xid: end.xid, seq: end.seq },
      data: {
        event: end.event,
        at: end.recorded_at.toISOString(),
        attempt: end.attempt,
        outcome: end.outcome,
        failure_category: end.category,
        failure_code: end.code,
        job: toSummary(end),
      },
    })
  }
  return { ends, next: { cluster, xid, seq }, hasMore }
}
