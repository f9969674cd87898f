import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

export type CancelOutcome = 'cancelled' | 'not_found' | 'finished'

const outcomeSchema = z.object({ outcome: z.enum(['cancelled', 'not_found', 'finished']) })

/** Cancels a pending or running job at once; a worker that runs it is told and kills it, and its result will be late. */
export async function cancelJob(db: Database, id: string): Promise<CancelOutcome> {
  const rows = await queryRows(db, outcomeSchema, 'select jobs.cancel_job($1) as outcome', [id])
  return rows[0]?.outcome ?? 'not_found'
}
