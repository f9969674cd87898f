import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { submitPayload } from '../../packages/server/src/control/submit-job.ts'
import type { Database } from '../../packages/server/src/platform/db/database.ts'

/** Has the worker run so many jobs of one program, waits for their verdicts, and returns how many of them were warm. */
export async function runJobs(
  db: Database,
  envVersion: string,
  jobs: number,
  source: string,
  maxOutputKb = 1,
): Promise<number> {
  const ids: string[] = []
  for (let i = 0; i < jobs; i++) {
    ids.push(
      await submitPayload(db, {
        schema_version: '1.0',
        job_id: randomUUID(),
        job_type: 'object_execute',
        environment: { language: 'python', env_version: envVersion },
        limits: { max_output_kb: maxOutputKb },
        inputs: {
          object: { type: 'code', content: { format: 'text', value: source }, runtime: { language: 'python' } },
        },
      }),
    )
  }
  for (;;) {
    const { rows } = await db.query(
      `select count(*) filter (where status = 'completed')::int as completed, count(*) filter (where status = 'failed')::int as failed,
              count(*) filter (where resource_usage ->> 'isolation' = 'warm')::int as warm
       from jobs.tb_job_run where id = any($1)`,
      [ids],
    )
    const { completed, failed, warm } = rows[0] as { completed: number; failed: number; warm: number }
    if (failed > 0) throw new Error(`${failed} of ${jobs} jobs failed`)
    if (completed === jobs) return warm
    await sleep(20)
  }
}

/** The process of the worker that last gave a sign of life. */
export async function workerPid(db: Database): Promise<number> {
  const { rows } = await db.query('select pid from jobs.tb_job_worker order by heartbeat_at desc limit 1')
  const row = rows[0] as { pid: number } | undefined
  if (row === undefined) throw new Error('no worker has signed in')
  return row.pid
}
