import { randomUUID } from 'node:crypto'
import type { JobPayloadInput } from '@ergon/contract'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../../packages/server/src/platform/db/database.ts'

/**
 * Has the worker run so many jobs of one program, waits for their verdicts, and returns how many of them were warm.
 * They arrive in one statement: one by one, the worker waits for whoever inserts them.
 */
export async function runJobs(
  db: Database,
  envVersion: string,
  jobs: number,
  source: string,
  maxOutputKb = 1,
): Promise<number> {
  const payload = {
    schema_version: '1.0',
    job_type: 'object_execute',
    environment: { language: 'python', env_version: envVersion },
    limits: { max_output_kb: maxOutputKb },
    inputs: {
      object: { type: 'code', content: { format: 'text', value: source }, runtime: { language: 'python' } },
    },
  } satisfies Omit<JobPayloadInput, 'job_id'>
  const ids = Array.from({ length: jobs }, () => randomUUID())
  await db.query(
    `insert into jobs.tb_job_run (id, identifier, service_name, operation, execution_type, input_data)
     select id, 'executor_' || id, 'executor', $2, 'sandbox', $3::jsonb || jsonb_build_object('job_id', id)
     from unnest($1::uuid[]) id`,
    [ids, payload.job_type, JSON.stringify(payload)],
  )
  // The live jobs alone: to count all of them fifty times a second would take a tenth of a core from what is measured.
  for (let isBusy = true; isBusy; ) {
    await sleep(20)
    const { rows } = await db.query('select exists (select from jobs.tb_job_queue) as busy')
    isBusy = (rows[0] as { busy: boolean }).busy
  }
  const { rows } = await db.query(
    `select count(*) filter (where status = 'completed')::int as completed,
            count(*) filter (where resource_usage ->> 'isolation' = 'warm')::int as warm
     from jobs.tb_job_run where id = any($1)`,
    [ids],
  )
  const { completed, warm } = rows[0] as { completed: number; warm: number }
  if (completed < jobs) throw new Error(`${jobs - completed} of ${jobs} jobs failed`)
  return warm
}

/** The process of the worker that last gave a sign of life. */
export async function workerPid(db: Database): Promise<number> {
  const { rows } = await db.query('select pid from jobs.tb_job_worker order by heartbeat_at desc limit 1')
  const row = rows[0] as { pid: number } | undefined
  if (row === undefined) throw new Error('no worker has signed in')
  return row.pid
}
