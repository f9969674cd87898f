import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

// The calls state their parameters' types: the former owner of an adopted schema may create functions of the same names in it.

const claimedSchema = z
  .object({
    callback_id: z.string(),
    token: z.string(),
    registration_id: z.number(),
    job_id: z.string(),
    outcome: z.enum(['success', 'failure']),
    attempts: z.number(),
  })
  .transform((row) => ({
    id: row.callback_id,
    token: row.token,
    registrationId: row.registration_id,
    jobId: row.job_id,
    outcome: row.outcome,
    attempt: row.attempts,
  }))
/** A callback that is this worker's to run until its lease ends. */
export type ClaimedCallback = z.output<typeof claimedSchema>

const dueSchema = z.object({ is_due: z.boolean() })
const sweptSchema = z.object({ next: z.string() })
const resultSchema = z.object({ result: z.enum(['done', 'failed', 'gone']) })
const retriedSchema = z.object({ outcome: z.enum(['queued', 'running', 'not_found']) })

/** Callbacks that are due, of each registration the one that has been the longest, and none of the busy ones. As ergon_worker. */
export function claimCallbacks(
  db: Database,
  options: { most: number; busyRegistrations: readonly number[]; leaseMs: number },
): Promise<ClaimedCallback[]> {
  return queryRows(
    db,
    claimedSchema,
    `select callback_id::text, token, registration_id, job_id, outcome, attempts from jobs.claim_callbacks($1::integer, $2::integer[], $3::integer)`,
    [options.most, [...options.busyRegistrations], options.leaseMs],
  )
}

/** Whether a claim would find one, as far as can be told without claiming. As ergon_worker. */
export async function hasDueCallback(db: Database, busyRegistrations: readonly number[]): Promise<boolean> {
  const [row] = await queryRows(db, dueSchema, 'select jobs.has_due_callback($1::integer[]) as is_due', [
    [...busyRegistrations],
  ])
  return row?.is_due ?? false
}

/**
 * Lets callbacks go on that wait for an earlier one of their job which is gone, of the next thousand after that number that
 * wait. Returns where to go on the next time; '0' is the beginning. As ergon_worker.
 */
export async function sweepCallbackWaits(db: Database, after: string): Promise<string> {
  const [row] = await queryRows(db, sweptSchema, 'select jobs.sweep_callback_waits($1::bigint)::text as next', [after])
  return row?.next ?? '0'
}

export interface CallbackTimeouts {
  statementMs: number
  lockMs: number
}

/**
 * Runs one in a transaction of its own, as a login of the group ergon_callback: 'done' when its effect is committed,
 * 'failed' when the function failed and that was noted, 'gone' when it was not ours to run any more. Throws what kept
 * the transaction from its end.
 */
export async function runCallback(
  db: Database,
  callback: Pick<ClaimedCallback, 'id' | 'token'>,
  { statementMs, lockMs }: CallbackTimeouts,
): Promise<'done' | 'failed' | 'gone'> {
  // The modes are stated: a login can change its own defaults, and so can a function that acts as it. Parameters would show
  // in the context of the errors that the function catches, and with them the token. A session that waits
  // for a worker whose host is gone would hold its locks for as long as TCP takes to notice.
  await db.query(
    `begin isolation level read committed read write;
     set local statement_timeout = ${statementMs};
     set local log_parameter_max_length_on_error = 0;
     set local idle_in_transaction_session_timeout = ${statementMs};
     set local lock_timeout = ${lockMs}`,
  )
  const [row] = await queryRows(db, resultSchema, 'select jobs.run_callback($1::bigint, $2::uuid) as result', [
    callback.id,
    callback.token,
  ])
  await db.query('commit')
  return row?.result ?? 'gone'
}

/** Notes why a run came to nothing; without effect when the token is not the current one. As either role. */
export async function failCallback(
  db: Database,
  callback: Pick<ClaimedCallback, 'id' | 'token'>,
  error: string,
): Promise<void> {
  await db.query('select jobs.fail_callback($1::bigint, $2::uuid, $3::text)', [callback.id, callback.token, error])
}

export type CallbackRetry = z.output<typeof retriedSchema>['outcome']

/** Has a callback run as soon as a worker can, with its whole budget of attempts. */
export async function retryCallback(db: Database, id: string): Promise<CallbackRetry> {
  const rows = await queryRows(db, retriedSchema, 'select jobs.retry_callback($1::bigint) as outcome', [id])
  return rows[0]?.outcome ?? 'not_found'
}

/** The same of a callback that the caller's tenant has. */
export async function retryOwnCallback(db: Database, id: string): Promise<CallbackRetry> {
  const rows = await queryRows(db, retriedSchema, 'select jobs.retry_tenant_callback($1::bigint) as outcome', [id])
  return rows[0]?.outcome ?? 'not_found'
}
