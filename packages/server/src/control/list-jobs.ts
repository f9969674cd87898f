import { JOB_STATUSES } from '@ergon/contract'
import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'

const jobListRowSchema = z.object({
  id: z.string(),
  identifier: z.string(),
  service_name: z.string(),
  operation: z.string(),
  execution_type: z.string(),
  status: z.enum(JOB_STATUSES),
  attempts: z.number().nullable(),
  failure_code: z.string().nullable(),
  created_at: z.date().nullable(),
  completed_at: z.date().nullable(),
})
export type JobListRow = z.infer<typeof jobListRowSchema>

/** The newest jobs, at most `limit`, of one status or of all. */
export async function listJobs(db: Database, filter: { status: string | null; limit: number }): Promise<JobListRow[]> {
  const { rows } = await db.query(
    `select id, identifier, service_name, operation, execution_type, status, attempts, failure_code, created_at, completed_at
     from jobs.tb_job_run where $1::text is null or status = $1
     order by created_at desc limit $2`,
    [filter.status, filter.limit],
  )
  return rows.map((row) => jobListRowSchema.parse(row))
}
