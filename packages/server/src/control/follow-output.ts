import { hasEnded } from '@ergon/contract'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { OutputNews } from './job-control.ts'
import { type OutputPosition, readOutput } from './read-output.ts'

const POLL_MS = 50

/** Output of a job behind a position as it comes, to the job's end. Throws JOB_NOT_FOUND, also when it was deleted meanwhile. */
export async function* followOutput(
  db: Database,
  id: string,
  from: OutputPosition,
): AsyncGenerator<OutputNews, void, undefined> {
  let position = from
  for (;;) {
    const reading = await readOutput(db, id, position)
    if (reading === null) throw new ErgonError('JOB_NOT_FOUND', `there is no job ${id}, or it was deleted meanwhile`)
    position = reading.position
    const isOver = hasEnded(reading.status)
    yield reading
    // A reading may be bounded: what was read at the end is all once nothing more comes.
    if (isOver && reading.chunks.length === 0) return
    if (!isOver) await sleep(POLL_MS)
  }
}
