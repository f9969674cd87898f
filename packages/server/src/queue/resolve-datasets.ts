import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { JobClaim } from './types.ts'

const digestSchema = z.object({ digest: z.string() })

/** Of these digests, those that the job's tenant has: uploaded, or made by one of its jobs. None without the current fence. */
export async function resolveDatasets(
  db: Database,
  { id, fence, digests }: JobClaim & { digests: readonly string[] },
): Promise<string[]> {
  const rows = await queryRows(db, digestSchema, 'select d.digest from jobs.resolve_datasets($1, $2, $3) d (digest)', [
    id,
    fence,
    digests,
  ])
  return rows.map(({ digest }) => digest)
}
