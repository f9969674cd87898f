import type { QueueStatistics } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

const laneSchema = z.object({
  lane: z.string(),
  ready: z.coerce.number(),
  scheduled: z.coerce.number(),
  gated: z.coerce.number(),
  blocked: z.coerce.number(),
  executing: z.coerce.number(),
})
const serviceSchema = z.object({
  service: z.string(),
  operation: z.string(),
  pending: z.coerce.number(),
  running: z.coerce.number(),
  gated: z.coerce.number(),
  retryable_failures: z.coerce.number(),
  permanent_failures: z.coerce.number(),
  average_age_seconds: z.number().nullable(),
  oldest_age_seconds: z.number().nullable(),
  gated_by: z.string().nullable(),
  gated_until: z.date().nullable(),
})

/** What waits and runs, by lane and by operation, of the jobs that `db` sees; operations whose jobs wait longest come first. */
export async function readQueueStatistics(db: Database): Promise<QueueStatistics> {
  const states = ['ready', 'scheduled', 'gated', 'blocked', 'executing']
  const counts = states.map((state) => `count(*) filter (where state = '${state}') as ${state}`).join(', ')
  // One after the other: whoever asks has one connection.
  const lanes = await queryRows(
    db,
    laneSchema,
    `select lane, ${counts} from jobs.tb_job_queue group by lane order by lane limit 1000`,
    [],
  )
  const services = await queryRows(
    db,
    serviceSchema,
    `with gated as (
         select j.service_name, j.operation, count(*) as gated
         from jobs.tb_job_queue q join jobs.tb_job_run j on j.id = q.job_id
         where q.state = 'gated' group by j.service_name, j.operation
       )
       select h.service_name as service, h.operation, h.pending_jobs as pending, h.running_jobs as running,
              coalesce(g.gated, 0) as gated, h.retryable_failures, h.permanent_failures,
              h.avg_queue_age_sec as average_age_seconds, h.max_queue_age_sec as oldest_age_seconds, h.gated_by, h.gated_until
       from jobs.v_job_queue_health h
       left join gated g using (service_name, operation)
       order by h.max_queue_age_sec desc nulls last, h.service_name, h.operation limit 10000`,
    [],
  )
  return {
    measured_at: new Date().toISOString(),
    lanes,
    services: services.map((row) => ({ ...row, gated_until: row.gated_until?.toISOString() ?? null })),
  }
}
