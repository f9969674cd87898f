import { JOB_STATUSES, type JobStatus } from '@ergon/contract'
import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'

const STREAMS = ['stdout', 'stderr'] as const
export type OutputStream = (typeof STREAMS)[number]

export interface OutputChunk {
  attempt: number
  stream: OutputStream
  /** Where the bytes begin in their stream, in sanitised bytes. */
  offset: number
  bytes: Buffer
}

/** Where a reader is: the attempt it follows and how many bytes of each stream it has. */
export interface OutputPosition {
  attempt: number
  stdout: number
  stderr: number
  /** When the attempt began, in microseconds, null while not known: a job that was handed back runs again as the same attempt. */
  beganAt: number | null
}

export const OUTPUT_START: OutputPosition = { attempt: 0, stdout: 0, stderr: 0, beganAt: null }

/** What there was to read at one moment, and whether more can come. */
export interface OutputReading {
  status: JobStatus
  chunks: OutputChunk[]
  position: OutputPosition
}

const readingSchema = z.object({
  status: z.enum(JOB_STATUSES),
  newest_attempt: z.number().nullable(),
  began_at: z.coerce.number().nullable(),
})
const noChunkSchema = z.object({ stream: z.null() })
const chunkSchema = z.object({
  attempt: z.number(),
  stream: z.enum(STREAMS),
  offset: z.coerce.number(),
  bytes: z.instanceof(Buffer),
})

/**
 * Output of the job's newest attempt beyond a position, and the position after it; null when there is no such job.
 * No byte comes twice and none is left out: live chunks may have been replaced by the final text in between, so a chunk
 * is cut at what the reader has, and one that lies beyond a gap (its predecessor was lost with the database) waits for
 * the final text, which has everything.
 */
export async function readOutput(db: Database, jobId: string, from: OutputPosition): Promise<OutputReading | null> {
  // The job's row and its chunks by one statement: a state that is final then has its final text beside it.
  const { rows } = await db.query(
    `select j.status, newest.attempt as newest_attempt, began.at as began_at, o.attempt, o.stream, o."offset", o.bytes
     from jobs.tb_job_run j
     left join lateral (select max(attempt) as attempt from jobs.tb_job_output where job_id = j.id) newest on true
     cross join lateral (
       select case when j.attempts = newest.attempt then (extract(epoch from j.started_at) * 1000000)::bigint end as at
     ) began
     left join jobs.tb_job_output o on o.job_id = j.id and o.attempt = newest.attempt
       and (newest.attempt <> $2 or began.at <> $5
            or o."offset" + octet_length(o.bytes) > case o.stream when 'stdout' then $3::bigint else $4::bigint end)
     where j.id = $1
     order by max(o.written_at) over (partition by o.stream order by o."offset"), o.stream, o."offset"`,
    [jobId, from.attempt, from.stdout, from.stderr, from.beganAt],
  )
  if (rows[0] === undefined) return null
  const { status, newest_attempt: attempt, began_at: beganAt } = readingSchema.parse(rows[0])
  const chunks: OutputChunk[] = []
  const position = continueFrom(from, attempt, beganAt)
  for (const row of rows) {
    // A job without output is one row without a chunk.
    if (noChunkSchema.safeParse(row).success) continue
    const chunk = chunkSchema.parse(row)
    if (chunk.attempt !== position.attempt || chunk.offset > position[chunk.stream]) continue
    const bytes = chunk.bytes.subarray(position[chunk.stream] - chunk.offset)
    if (bytes.length === 0) continue
    chunks.push({ ...chunk, offset: position[chunk.stream], bytes })
    position[chunk.stream] += bytes.length
  }
  return { status, chunks, position }
}

/** A new attempt, or the same one begun anew after it was handed back, is read from its beginning. */
function continueFrom(from: OutputPosition, newest: number | null, beganAt: number | null): OutputPosition {
  const attempt = Math.max(from.attempt, newest ?? 0)
  const isOther = from.beganAt !== null && beganAt !== null && from.beganAt !== beganAt
  if (attempt > from.attempt || isOther) return { attempt, stdout: 0, stderr: 0, beganAt }
  return { ...from, beganAt: beganAt ?? from.beganAt }
}
