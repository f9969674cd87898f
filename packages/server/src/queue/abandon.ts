import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { JobClaim } from './types.ts'

const countSchema = z.object({ count: z.number() })

/** Ends attempts that began and will have no result, as each job declares: tried again, or failed as WORKER_LOST. */
export async function abandonJobs(db: Database, claims: readonly JobClaim[]): Promise<number> {
  const ids = claims.map(({ id }) => id)
  const fences = claims.map(({ fence }) => fence)
  const rows = await queryRows(db, countSchema, 'select jobs.abandon_jobs($1, $2) as count', [ids, fences])
  return rows[0]?.count ?? 0
}
