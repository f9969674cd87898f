import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { JobClaim } from './types.ts'

const countSchema = z.object({ count: z.number() })

/** Hands jobs back without counting the attempt; returns how many were still ours to hand back. */
export async function releaseJobs(db: Database, claims: readonly JobClaim[]): Promise<number> {
  const ids = claims.map(({ id }) => id)
  const fences = claims.map(({ fence }) => fence)
  const rows = await queryRows(db, countSchema, 'select jobs.release_jobs($1, $2) as count', [ids, fences])
  return rows[0]?.count ?? 0
}

/** Hands one job back with an entry of the audit trail, since it may have run; false when it was not ours any more. */
export async function releaseJob(db: Database, { id, fence }: JobClaim, auditEntry: string): Promise<boolean> {
  const rows = await queryRows(
    db,
    countSchema,
    `select r.count, case when r.count > 0 then jobs.append_audit($3, $4) end
     from jobs.release_jobs($1, $2) r (count)`,
    [[id], [fence], id, auditEntry],
  )
  return (rows[0]?.count ?? 0) > 0
}
