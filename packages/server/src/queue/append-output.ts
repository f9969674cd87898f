import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { JobClaim } from './types.ts'

export interface OutputChunk extends JobClaim {
  stream: 'stdout' | 'stderr'
  /** Where the chunk begins in its stream, in bytes of UTF-8. */
  offset: number
  /** Sanitised text, not empty, at most 17 MiB. */
  text: string
}

const acceptedSchema = z.object({ accepted: z.boolean() })

/** Stores live output; false when the job is not ours any more. The same chunk twice is stored once. */
export async function appendOutput(db: Database, chunk: OutputChunk): Promise<boolean> {
  const rows = await queryRows(db, acceptedSchema, 'select jobs.append_output($1, $2, $3, $4, $5) as accepted', [
    chunk.id,
    chunk.fence,
    chunk.stream,
    chunk.offset,
    Buffer.from(chunk.text),
  ])
  return rows[0]?.accepted === true
}
