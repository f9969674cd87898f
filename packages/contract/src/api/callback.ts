import { z } from 'zod'

/** What a callback that has not run yet is doing. */
export const CALLBACK_STATES = ['waiting', 'running', 'retrying', 'failed', 'unregistered'] as const
export type CallbackState = (typeof CALLBACK_STATES)[number]

/** A function of the application that is owed the news of how a job ended. */
export const callbackSchema = z
  .object({
    callback_id: z.string(),
    job_id: z.uuid(),
    entity_type: z.string(),
    service: z.string(),
    operation: z.string(),
    outcome: z.enum(['success', 'failure']),
    callback_function: z.string().nullable(),
    state: z.enum(CALLBACK_STATES),
    attempts: z.number().int(),
    max_attempts: z.number().int(),
    due_at: z.string(),
    last_error: z.string().nullable(),
    last_error_at: z.string().nullable(),
    recorded_at: z.string(),
    waits_for: z.string().nullable().describe('The earlier callback of the same job that comes first'),
  })
  .meta({ id: 'Callback' })
export type Callback = z.infer<typeof callbackSchema>
