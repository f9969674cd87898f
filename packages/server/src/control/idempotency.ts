import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'

export interface IdempotentCall {
  key: string
  tenantId: string | null
  /** SHA-256 of method, path and body. */
  fingerprint: Buffer
}

const firstSchema = z.object({ is_first: z.literal(true) })
const knownSchema = z.object({ job_ids: z.array(z.string()), is_same: z.boolean() })

/**
 * Takes a key for these jobs in the transaction that inserts them, and gives null; or the jobs of the call that took it
 * in the last 24 hours. A call with the same key that is under way is waited for. Throws IDEMPOTENCY_KEY_REUSED.
 */
export async function takeIdempotencyKey(
  db: Database,
  { key, tenantId, fingerprint }: IdempotentCall,
  jobIds: readonly string[],
): Promise<string[] | null> {
  const first = await queryRows(
    db,
    firstSchema,
    `insert into jobs.tb_api_idempotency as i (tenant_id, idempotency_key, fingerprint, job_ids) values ($1, $2, $3, $4)
     on conflict (tenant_id, idempotency_key) do update
       set fingerprint = excluded.fingerprint, job_ids = excluded.job_ids, created_at = clock_timestamp()
       where i.created_at < clock_timestamp() - interval '24 hours'
     returning true as is_first`,
    [tenantId, key, fingerprint, jobIds],
  )
  if (first.length > 0) return null
  const [known] = await queryRows(
    db,
    knownSchema,
    `select job_ids, fingerprint = $3 as is_same from jobs.tb_api_idempotency
     where tenant_id is not distinct from $1 and idempotency_key = $2`,
    [tenantId, key, fingerprint],
  )
  if (known === undefined) throw new Error('an idempotency key was neither taken nor there')
  if (known.is_same) return known.job_ids
  throw new ErgonError(
    'IDEMPOTENCY_KEY_REUSED',
    `Idempotency-Key "${key.slice(0, 100)}" was used for another request in the last 24 hours: a key belongs to one request`,
  )
}

/** Says which jobs a key that was taken in the same transaction stands for after all. */
export async function correctIdempotencyKey(
  db: Database,
  { key, tenantId }: IdempotentCall,
  jobIds: readonly string[],
): Promise<void> {
  await db.query(
    `update jobs.tb_api_idempotency set job_ids = $3 where tenant_id is not distinct from $1 and idempotency_key = $2`,
    [tenantId, key, jobIds],
  )
}

/** Removes keys whose time is over, at most so many at once; gives how many there were. */
export async function forgetIdempotencyKeys(db: Database, most: number): Promise<number> {
  const [row] = await queryRows(
    db,
    z.object({ gone: z.coerce.number() }),
    'select jobs.forget_idempotency_keys($1) as gone',
    [most],
  )
  return row?.gone ?? 0
}
