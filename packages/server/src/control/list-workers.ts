import type { WorkerSummary } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

const rowSchema = z.object({
  worker_id: z.string(),
  name: z.string(),
  version: z.string(),
  lanes: z.array(z.string()),
  slots: z.number(),
  running: z.coerce.number(),
  is_draining: z.boolean(),
  is_alive: z.boolean(),
  registered_at: z.date(),
  heartbeat_at: z.date(),
})

/** Every worker that has registered and not left, with those that are about to be given up; by name. */
export async function listWorkers(db: Database): Promise<WorkerSummary[]> {
  const rows = await queryRows(
    db,
    rowSchema,
    `select w.worker_id, w.name, w.version, w.lanes, w.slots, w.draining as is_draining,
            w.heartbeat_at + w.lease > clock_timestamp() as is_alive, w.registered_at, w.heartbeat_at,
            (select count(*) from jobs.tb_job_queue q where q.worker_id = w.worker_id and q.state = 'executing') as running
     from jobs.tb_job_worker w order by w.name, w.registered_at limit 10000`,
    [],
  )
  return rows.map((row) => ({
    ...row,
    registered_at: row.registered_at.toISOString(),
    heartbeat_at: row.heartbeat_at.toISOString(),
  }))
}
