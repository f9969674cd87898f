import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

export type RetryOutcome = 'queued' | 'not_found' | 'not_failed'

const outcomeSchema = z.object({ outcome: z.enum(['queued', 'not_found', 'not_failed']) })

/** Queues a failed job again, with at least one more attempt. */
export async function retryJob(db: Database, id: string): Promise<RetryOutcome> {
  const rows = await queryRows(db, outcomeSchema, 'select jobs.retry_job($1) as outcome', [id])
  return rows[0]?.outcome ?? 'not_found'
}
