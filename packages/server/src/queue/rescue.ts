import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

const rescuedSchema = z.object({
  retried_count: z.number(),
  failed_count: z.number(),
  removed_worker_count: z.number(),
})

export interface RescueCounts {
  retried: number
  failed: number
  removedWorkers: number
}

/**
 * Ends attempts whose worker fell silent or whose deadline passed, as each job declares: tried again, or failed as
 * WORKER_LOST. At most 1 000 a call; beside another rescuer it does nothing.
 */
export async function rescueJobs(db: Database): Promise<RescueCounts> {
  const rows = await queryRows(
    db,
    rescuedSchema,
    'select retried_count, failed_count, removed_worker_count from jobs.rescue_jobs()',
    [],
  )
  return {
    retried: rows[0]?.retried_count ?? 0,
    failed: rows[0]?.failed_count ?? 0,
    removedWorkers: rows[0]?.removed_worker_count ?? 0,
  }
}
