import { JOB_STATUSES, type JobStatus } from '@ergon/contract'
import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'
import { momentSchema } from './job-view.ts'

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

/** The job's row at the moment of a reading. */
export interface OutputOwner {
  attempts: number
  maxAttempts: number
  runAt: Date
  startedAt: Date | null
  completedAt: Date | null
  failureCode: string | null
}

/** What there was to read at one moment, and whether more can come. */
export interface OutputReading {
  status: JobStatus
  job: OutputOwner
  chunks: OutputChunk[]
  position: OutputPosition
  /** There is more than was asked for; a chunk may then end inside a character. */
  isCut: boolean
}

const readingSchema = z.object({
  status: z.enum(JOB_STATUSES),
  attempts: z.number(),
  max_attempts: z.number(),
  run_at: momentSchema,
  started_at: momentSchema.nullable(),
  completed_at: momentSchema.nullable(),
  failure_code: z.string().nullable(),
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

/** More than all output of an attempt. */
const ALL_BYTES = 2 ** 31 - 1
/** Rows of one stream that a bounded reading looks at: a job that prints a little for days has very many. */
const MAX_ROWS = 2_000

/**
 * Output of the job's newest attempt beyond a position, at most so many bytes, and the position after it; null when there
 * is no such job. No byte comes twice and none is left out: live chunks may have been replaced by the final text in
 * between, so a chunk is cut at what the reader has, and one that lies beyond a gap (its predecessor was lost with the
 * database) waits for the final text, which has everything.
 */
export async function readOutput(
  db: Database,
  jobId: string,
  from: OutputPosition,
  mostBytes = ALL_BYTES,
): Promise<OutputReading | null> {
  const maxRows = mostBytes === ALL_BYTES ? null : MAX_ROWS
  // The job's row and its chunks by one statement: a state that is final then has its final text beside it.
  const { rows } = await db.query(
    `select j.status, coalesce(j.attempts, 0) as attempts, coalesce(j.max_attempts, 3) as max_attempts, j.run_at, j.started_at,
            j.completed_at, j.failure_code, newest.attempt as newest_attempt, began.at as began_at,
            o.attempt, o.stream, o."offset", o.bytes
     from jobs.tb_job_run j
     left join lateral (
       select n.attempt from jobs.tb_job_output n where n.job_id = j.id order by n.attempt desc limit 1
     ) newest on true
     cross join lateral (
       select case when j.attempts = newest.attempt then (extract(epoch from j.started_at) * 1000000)::bigint end as at
     ) began
     left join lateral (
       select w.attempt, w.stream, w.begins as "offset", w.moment, substring(w.bytes from w.skipped + 1 for ($6 - w.before)::int) as bytes
       from (
         select r.*, sum(r.length) over (order by r.moment, r.stream, r.begins) - r.length as before
         from (
           select c.attempt, c.stream, c.bytes, s.skipped, c."offset" + s.skipped as begins, octet_length(c.bytes) - s.skipped as length,
                  max(c.written_at) over (partition by c.stream order by c."offset") as moment
           from (values ('stdout', $3::bigint), ('stderr', $4::bigint)) given (stream, had)
           cross join lateral (
             select case when newest.attempt > $2 or began.at <> $5 then 0 else given.had end as has
           ) reader
           cross join lateral (
             select t.* from jobs.tb_job_output t
             where t.job_id = j.id and t.attempt = newest.attempt and newest.attempt >= $2 and t.stream = given.stream
               -- From the chunk that the reader is in; without coalesce(), which row-level security keeps from the index.
               and t."offset" >= (
                 select max(known.at) from (
                   select 0::bigint as at
                   union all
                   (select b."offset" from jobs.tb_job_output b
                    where b.job_id = j.id and b.attempt = newest.attempt and b.stream = given.stream and b."offset" <= reader.has
                    order by b."offset" desc limit 1)
                 ) known
               )
             order by t."offset" limit $7
           ) c
           cross join lateral (select greatest(reader.has - c."offset", 0)::int as skipped) s
           where octet_length(c.bytes) > s.skipped
         ) r
       ) w
       where w.before < $6
     ) o on true
     where j.id = $1
     order by o.moment, o.stream, o."offset"`,
    [jobId, from.attempt, from.stdout, from.stderr, from.beganAt, mostBytes, maxRows],
  )
  if (rows[0] === undefined) return null
  const { status, newest_attempt: attempt, began_at: beganAt, ...job } = readingSchema.parse(rows[0])
  const chunks: OutputChunk[] = []
  const position = continueFrom(from, attempt, beganAt)
  let bytesRead = 0
  for (const row of rows) {
    // A job without output is one row without a chunk.
    if (noChunkSchema.safeParse(row).success) continue
    const chunk = chunkSchema.parse(row)
    bytesRead += chunk.bytes.length
    if (chunk.attempt !== position.attempt || chunk.offset > position[chunk.stream]) continue
    const bytes = chunk.bytes.subarray(position[chunk.stream] - chunk.offset)
    if (bytes.length === 0) continue
    chunks.push({ ...chunk, offset: position[chunk.stream], bytes })
    position[chunk.stream] += bytes.length
  }
  return {
    status,
    job: {
      attempts: job.attempts,
      maxAttempts: job.max_attempts,
      runAt: job.run_at,
      startedAt: job.started_at,
      completedAt: job.completed_at,
      failureCode: job.failure_code,
    },
    chunks,
    position,
    isCut: bytesRead >= mostBytes || (maxRows !== null && rows.length >= maxRows),
  }
}

/** A new attempt, or the same one begun anew after it was handed back, is read from its beginning. */
function continueFrom(from: OutputPosition, newest: number | null, beganAt: number | null): OutputPosition {
  const attempt = Math.max(from.attempt, newest ?? 0)
  const isOther = from.beganAt !== null && beganAt !== null && from.beganAt !== beganAt
  if (attempt > from.attempt || isOther) return { attempt, stdout: 0, stderr: 0, beganAt }
  return { ...from, beganAt: beganAt ?? from.beganAt }
}
