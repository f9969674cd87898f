import type { Database } from '../platform/db/database.ts'
import type { CancelOutcome } from '../queue/cancel.ts'
import type { RetryOutcome } from '../queue/retry.ts'

/** Which token asks, by which request, for the audit trail; the database looks up its name, and whether it may. */
export interface Asker {
  tokenId: string
  requestId: string
}

/**
 * Cancels a job as an application does, by its status: with the rights, and in the tenant, of whoever asks. `asker` is null
 * where the API does it of its own accord. Throws TOKEN_INVALID where the token has ended meanwhile.
 */
export async function cancelOwnJob(db: Database, id: string, asker: Asker | null): Promise<CancelOutcome> {
  const outcome = await setStatus(db, { id, asker, from: ['pending', 'running'], to: 'cancelled' })
  return outcome === 'changed' ? 'cancelled' : outcome === 'unchanged' ? 'finished' : 'not_found'
}

/** Queues a failed job again, with the rights, and in the tenant, of whoever asks. Throws TOKEN_INVALID as `cancelOwnJob`. */
export async function retryOwnJob(db: Database, id: string, asker: Asker): Promise<RetryOutcome> {
  const outcome = await setStatus(db, { id, asker, from: ['failed'], to: 'pending' })
  return outcome === 'changed' ? 'queued' : outcome === 'unchanged' ? 'not_failed' : 'not_found'
}

interface Change {
  id: string
  asker: Asker | null
  from: readonly string[]
  to: string
}

async function setStatus(
  db: Database,
  { id, asker, from, to }: Change,
): Promise<'changed' | 'unchanged' | 'not_found'> {
  // The settings end with the transaction, and no row is changed, and so no entry written, before they are made.
  const changed = await db.query(
    `with said as materialized (
       select set_config('ergon.token', $4, true) as token, set_config('ergon.request_id', $5, true) as request
     )
     update jobs.tb_job_run set status = $2 from said
     where id = $1 and status = any ($3) and said.token is not null and said.request is not null`,
    [id, to, from, asker?.tokenId ?? '', asker?.requestId ?? ''],
  )
  if (changed.rowCount === 1) return 'changed'
  const { rows } = await db.query('select from jobs.tb_job_run where id = $1', [id])
  return rows.length === 1 ? 'unchanged' : 'not_found'
}
