import { CALLBACK_STATES, type CallbackState } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

const callbackRowSchema = z.object({
  callback_id: z.string(),
  job_id: z.string(),
  entity_type: z.string(),
  service_name: z.string(),
  operation: z.string(),
  outcome: z.enum(['success', 'failure']),
  callback_function: z.string().nullable(),
  state: z.enum(CALLBACK_STATES),
  attempts: z.number(),
  max_attempts: z.number(),
  due_at: z.date(),
  last_error: z.string().nullable(),
  last_error_at: z.date().nullable(),
  recorded_at: z.date(),
  waits_for: z.string().nullable(),
})
export type CallbackRow = z.infer<typeof callbackRowSchema>

const countSchema = z.object({ failed: z.number(), unregistered: z.number() })

/** How many callbacks wait for somebody, and not for a worker. */
export async function countStuckCallbacks(db: Database): Promise<z.infer<typeof countSchema>> {
  const [row] = await queryRows(
    db,
    countSchema,
    `select count(*) filter (where state = 'failed')::int as failed, count(*) filter (where state = 'unregistered')::int as unregistered
     from jobs.v_job_callback`,
    [],
  )
  return row ?? { failed: 0, unregistered: 0 }
}

/** Callbacks that are owed and have not run, the oldest first, at most `limit`, in one state or in all. */
export function listCallbacks(
  db: Database,
  { state, limit }: { state: CallbackState | null; limit: number },
): Promise<CallbackRow[]> {
  return queryRows(
    db,
    callbackRowSchema,
    // By the number, which an index has: `callback_id` alone is the text above.
    `select callback_id::text, job_id, entity_type, service_name, operation, outcome, callback_function, state, attempts,
            max_attempts, due_at, last_error, last_error_at, recorded_at, waits_for::text
     from jobs.v_job_callback c where $1::text is null or state = $1
     order by c.callback_id limit $2`,
    [state, limit],
  )
}
