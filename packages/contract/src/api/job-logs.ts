import { z } from 'zod'
import { CONTRACT_STATUSES } from '../status.ts'

/** Most bytes of a stream in one answer; `next_offset` is where the next one begins. */
export const MAX_LOG_BYTES = 262_144

const pieceSchema = z.object({
  offset: z.number().int().describe('Where the text begins in its stream, in bytes'),
  text: z.string().describe(`At most ${MAX_LOG_BYTES} bytes`),
  next_offset: z.number().int().describe('Ask again from here'),
})

export const jobLogsSchema = z
  .object({
    job_id: z.uuid(),
    status: z.enum(CONTRACT_STATUSES),
    attempt: z.number().int().describe('That wrote this; 0 while none has'),
    stdout: pieceSchema,
    stderr: pieceSchema,
    is_complete: z.boolean().describe('Whether the job has ended and this is the end of both streams'),
  })
  .meta({ id: 'JobLogs' })
/** A piece of what a job's newest attempt wrote, each stream by itself. */
export type JobLogs = z.infer<typeof jobLogsSchema>
