import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'
import { isUuid } from '../platform/text/uuid.ts'

const idSchema = z.object({ id: z.string() })

/** The id of the job with this id, else of the one with this identifier, else null. */
export async function findJobId(db: Database, reference: string): Promise<string | null> {
  const { rows } = await db.query(
    `select id from jobs.tb_job_run where id = $1::uuid or identifier = $2
     order by id is not distinct from $1::uuid desc limit 1`,
    [isUuid(reference) ? reference : null, reference],
  )
  return rows[0] === undefined ? null : idSchema.parse(rows[0]).id
}
