import { z } from 'zod'

export const workerSchema = z
  .object({
    worker_id: z.uuid(),
    name: z.string(),
    version: z.string(),
    lanes: z.array(z.string()),
    slots: z.number().int(),
    running: z.number().int().describe('Jobs that it holds'),
    is_draining: z.boolean(),
    is_alive: z.boolean().describe('Whether it was heard of within its lease'),
    registered_at: z.string(),
    heartbeat_at: z.string(),
  })
  .meta({ id: 'Worker' })
export type WorkerSummary = z.infer<typeof workerSchema>
export const workerListSchema = z.object({ items: z.array(workerSchema) }).meta({ id: 'WorkerList' })

const count = z.number().int()
const waiting = {
  ready: count.describe('Could start now'),
  scheduled: count.describe('Their time has not come'),
  gated: count.describe('Behind a gate: a limit, or a name in their rows'),
  blocked: count,
  executing: count,
}

export const queueStatisticsSchema = z
  .object({
    measured_at: z.string(),
    lanes: z.array(z.object({ lane: z.string(), ...waiting })),
    services: z.array(
      z.object({
        service: z.string(),
        operation: z.string(),
        pending: count,
        running: count,
        gated: count,
        retryable_failures: count.describe('Pending after a failure, or failed in the last hour with attempts left'),
        permanent_failures: count.describe('In the last hour'),
        average_age_seconds: z.number().nullable().describe('Of the pending ones'),
        oldest_age_seconds: z.number().nullable(),
        gated_by: z.string().nullable().describe('What the service’s limits wait for'),
        gated_until: z.string().nullable(),
      }),
    ),
  })
  .meta({ id: 'QueueStatistics' })
/** What waits and runs at one moment, of the jobs that the caller sees. */
export type QueueStatistics = z.infer<typeof queueStatisticsSchema>
