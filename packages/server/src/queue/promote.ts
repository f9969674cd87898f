import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

const countSchema = z.object({ count: z.number() })

/** Makes scheduled jobs ready whose time has come and rings for them; at most 1 000 a call. Returns how many. */
export async function promoteJobs(db: Database): Promise<number> {
  const rows = await queryRows(db, countSchema, 'select jobs.promote_jobs() as count', [])
  return rows[0]?.count ?? 0
}
