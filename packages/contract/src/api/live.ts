import { z } from 'zod'
import { JOB_STATUSES } from '../status.ts'
import { jobFilterSchema, jobSummarySchema } from './job.ts'

/** Data of `status`: the job's row at this moment. States that it passes through quickly may be left out. */
export const jobStatusEventSchema = z
  .object({
    job_id: z.uuid(),
    status: jobSummarySchema.shape.status,
    state: z.enum(JOB_STATUSES),
    attempts: z.number().int(),
    max_attempts: z.number().int(),
    run_at: z.string().describe('Not before this time'),
    started_at: z.string().nullable(),
    finished_at: z.string().nullable(),
  })
  .meta({ id: 'JobStatusEvent' })
export type JobStatusEvent = z.infer<typeof jobStatusEventSchema>

/** Data of `progress`: why the job waits, or which attempt runs. How far a program has come, only the program can say, in its output. */
export const jobProgressEventSchema = z
  .object({
    phase: z.enum(['waiting', 'running']),
    attempt: z.number().int().describe('Of the attempt that runs; while waiting, how many there were'),
    max_attempts: z.number().int(),
    reason: z.string().nullable().describe('What the job waits for'),
    gate: z.string().nullable().describe('The gate it stands behind'),
    waits_until: z.string().nullable().describe('When that is over, as far as it is known'),
  })
  .meta({ id: 'JobProgressEvent' })
export type JobProgressEvent = z.infer<typeof jobProgressEventSchema>

/** Data of `stdout` and `stderr`. */
export const jobOutputEventSchema = z
  .object({
    attempt: z.number().int(),
    offset: z
      .number()
      .int()
      .describe(
        'Where the text begins in its stream, in bytes of UTF-8; 0 begins anew: what came before was another run',
      ),
    text: z.string().describe('Whole characters'),
  })
  .meta({ id: 'JobOutputEvent' })
export type JobOutputEvent = z.infer<typeof jobOutputEventSchema>

/** What ends an attempt: its own outcome, the loss of its worker, somebody who cancelled the job. */
export const JOB_ENDS = ['ended', 'lost', 'cancelled'] as const

/** Data of the events of `GET /v1/events`. */
export const jobEndEventSchema = z
  .object({
    event: z.enum(JOB_ENDS),
    at: z.string(),
    attempt: z.number().int().nullable(),
    outcome: z.string().nullable(),
    failure_category: z.string().nullable(),
    failure_code: z.string().nullable(),
    job: jobSummarySchema.describe('As it is when the event is sent: after a failed attempt it may wait or run again'),
  })
  .meta({ id: 'JobEndEvent' })
export type JobEndEvent = z.infer<typeof jobEndEventSchema>

/** Filters of `GET /v1/events`: those of `GET /v1/jobs` that do not change while a job lives. */
export const jobFeedFilterSchema = jobFilterSchema.omit({
  identifier: true,
  status: true,
  created_after: true,
  created_before: true,
})
export type JobFeedFilter = z.infer<typeof jobFeedFilterSchema>
