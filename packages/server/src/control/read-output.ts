import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'

const chunkSchema = z.object({
  attempt: z.number(),
  stream: z.enum(['stdout', 'stderr']),
  offset: z.coerce.number(),
  bytes: z.instanceof(Buffer),
})
export type OutputChunk = z.infer<typeof chunkSchema>

/** Where a reader is: the attempt it follows and how many bytes of each stream it has. */
export interface OutputPosition {
  attempt: number
  stdout: number
  stderr: number
}

export const OUTPUT_START: OutputPosition = { attempt: 0, stdout: 0, stderr: 0 }

/**
 * Output of the job's newest attempt beyond a position, and the position after it. Live chunks may have been replaced
 * by the final text in between, so a chunk is cut at what the reader already has.
 */
export async function readOutput(
  db: Database,
  jobId: string,
  from: OutputPosition,
): Promise<{ chunks: OutputChunk[]; position: OutputPosition }> {
  const { rows } = await db.query(
    `select attempt, stream, "offset", bytes from jobs.tb_job_output
     where job_id = $1 and attempt = (select max(attempt) from jobs.tb_job_output where job_id = $1)
       and (attempt > $2 or "offset" + octet_length(bytes) > case stream when 'stdout' then $3::bigint else $4::bigint end)
     order by written_at, stream, "offset"`,
    [jobId, from.attempt, from.stdout, from.stderr],
  )
  let position = from
  const chunks: OutputChunk[] = []
  for (const row of rows) {
    const chunk = chunkSchema.parse(row)
    if (chunk.attempt > position.attempt) position = { attempt: chunk.attempt, stdout: 0, stderr: 0 }
    const bytes = chunk.bytes.subarray(Math.max(0, position[chunk.stream] - chunk.offset))
    if (bytes.length > 0) chunks.push({ ...chunk, bytes })
    position = { ...position, [chunk.stream]: chunk.offset + chunk.bytes.length }
  }
  return { chunks, position }
}
