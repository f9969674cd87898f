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
