import { hasEnded, JOB_STATUSES, type JobLogs, MAX_LOG_BYTES, toContractStatus } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { OutputStream } from './read-output.ts'

/** Where a reader is. A newer attempt than the one it knows is read from its beginning. */
export interface LogPosition {
  /** Null for the newest, whichever it is. */
  attempt: number | null
  stdout: number
  stderr: number
}

const rowSchema = z.object({
  status: z.enum(JOB_STATUSES),
  failure_code: z.string().nullable(),
  attempt: z.number(),
  stdout_from: z.coerce.number(),
  stderr_from: z.coerce.number(),
  stream: z.enum(['stdout', 'stderr']).nullable(),
  starts: z.coerce.number(),
  is_cut: z.boolean().nullable(),
  bytes: z.instanceof(Buffer).nullable(),
})
type Row = z.infer<typeof rowSchema>

/** What there is beyond a position, at most MAX_LOG_BYTES of each stream; null when there is no such job. */
export async function readJobLogs(db: Database, jobId: string, from: LogPosition): Promise<JobLogs | null> {
  const rows = await queryRows(
    db,
    rowSchema,
    // One statement: a state that is final then has its final text beside it. What is beyond the window is never loaded.
    `select j.status, j.failure_code, at.attempt, at.stdout_from, at.stderr_from, o.stream, coalesce(o.starts, 0) as starts,
            o.is_cut, o.bytes
     from jobs.tb_job_run j
     cross join lateral (
       select coalesce(max(attempt), 0) as newest from jobs.tb_job_output where job_id = j.id
     ) n
     cross join lateral (
       select n.newest as attempt,
              case when $2::integer is null or $2 >= n.newest then $3::bigint else 0 end as stdout_from,
              case when $2::integer is null or $2 >= n.newest then $4::bigint else 0 end as stderr_from
     ) at
     left join lateral (
       select c.stream, greatest(c."offset", w.start) as starts, c."offset" + octet_length(c.bytes) > w.start + $5 as is_cut,
              substring(c.bytes from greatest(w.start - c."offset", 0)::integer + 1
                        for least($5, w.start + $5 - c."offset")::integer) as bytes
       from jobs.tb_job_output c
       cross join lateral (select case c.stream when 'stdout' then at.stdout_from else at.stderr_from end as start) w
       where c.job_id = j.id and c.attempt = at.attempt
         and c."offset" < w.start + $5 and c."offset" + octet_length(c.bytes) > w.start
     ) o on true
     where j.id = $1
     order by o.stream, o.starts`,
    [jobId, from.attempt, from.stdout, from.stderr, MAX_LOG_BYTES],
  )
  const [first] = rows
  if (first === undefined) return null
  const isOver = hasEnded(first.status)
  const stdout = pieceOf('stdout', first.stdout_from, rows, isOver)
  const stderr = pieceOf('stderr', first.stderr_from, rows, isOver)
  return {
    job_id: jobId,
    status: toContractStatus(first.status, first.failure_code),
    attempt: first.attempt,
    stdout: stdout.piece,
    stderr: stderr.piece,
    is_complete: isOver && stdout.isEnd && stderr.isEnd,
  }
}

function pieceOf(
  stream: OutputStream,
  offset: number,
  rows: readonly Row[],
  isOver: boolean,
): { piece: JobLogs['stdout']; isEnd: boolean } {
  const parts: Buffer[] = []
  let end = offset
  let isEnd = true
  for (const row of rows) {
    // Behind a gap (a chunk was lost with the database) the final text is waited for, which has everything.
    if (row.stream !== stream || row.bytes === null || row.starts !== end) continue
    parts.push(row.bytes)
    end += row.bytes.length
    isEnd = row.is_cut !== true
  }
  const bytes = Buffer.concat(parts)
  // The rest of a character that was cut in two comes with what follows, if anything does.
  const whole = isOver && isEnd ? bytes : bytes.subarray(0, bytes.length - cutCharacter(bytes))
  return { piece: { offset, text: whole.toString('utf8'), next_offset: offset + whole.length }, isEnd }
}

/** How many bytes at the end are the beginning of a UTF-8 character that is not all there. */
function cutCharacter(bytes: Buffer): number {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back] ?? 0
    if (byte < 0x80) return 0
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? back : 0
  }
  return 0
}
