import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'

const grantSchema = z.object({ job_id: z.string(), fence: z.string() })

export interface Grant {
  jobId: string
  fence: string
}

/**
 * Renews the worker's lease and returns what the database still grants it; every other job it runs must be aborted.
 * Null when the database has forgotten the worker, which then has to register anew.
 */
export async function heartbeat(db: Database, workerId: string): Promise<Grant[] | null> {
  try {
    const rows = await queryRows(db, grantSchema, 'select job_id, fence from jobs.heartbeat($1)', [workerId])
    return rows.map((row) => ({ jobId: row.job_id, fence: row.fence }))
  } catch (error) {
    if (error instanceof ErgonError && error.code === 'WORKER_UNKNOWN') return null
    throw error
  }
}
