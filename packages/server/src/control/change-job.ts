import type { Database } from '../platform/db/database.ts'
import type { CancelOutcome } from '../queue/cancel.ts'
import type { RetryOutcome } from '../queue/retry.ts'

/** Cancels a job as an application does, by its status: with the rights, and in the tenant, of whoever asks. */
export async function cancelOwnJob(db: Database, id: string): Promise<CancelOutcome> {
  const outcome = await setStatus(db, id, 'cancelled', ['pending', 'running'])
  return outcome === 'changed' ? 'cancelled' : outcome === 'unchanged' ? 'finished' : 'not_found'
}

/** Queues a failed job again, with the rights, and in the tenant, of whoever asks. */
export async function retryOwnJob(db: Database, id: string): Promise<RetryOutcome> {
  const outcome = await setStatus(db, id, 'pending', ['failed'])
  return outcome === 'changed' ? 'queued' : outcome === 'unchanged' ? 'not_failed' : 'not_found'
}

async function setStatus(
  db: Database,
  id: string,
  status: string,
  from: readonly string[],
): Promise<'changed' | 'unchanged' | 'not_found'> {
  const changed = await db.query('update jobs.tb_job_run set status = $2 where id = $1 and status = any ($3)', [
    id,
    status,
    from,
  ])
  if (changed.rowCount === 1) return 'changed'
  const { rows } = await db.query('select from jobs.tb_job_run where id = $1', [id])
  return rows.length === 1 ? 'unchanged' : 'not_found'
}
