import { hasEnded, type JobView, MAX_WAIT_SECONDS } from '@ergon/contract'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import { readOwnJobView } from '../../control/read-job.ts'
import type { TenantDatabase } from '../../platform/db/tenant-database.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { JobWatcher } from '../live/job-watcher.ts'

export const jobParams = z.object({ job_id: z.uuid() })
export const waitQuery = z.coerce
  .number()
  .min(0)
  .max(MAX_WAIT_SECONDS)
  .default(0)
  .describe(`Seconds to wait for the job's end, at most ${MAX_WAIT_SECONDS}; the answer is the job as it is then`)

export function jobNotFound(id: string): ErgonError {
  return new ErgonError('JOB_NOT_FOUND', `there is no job ${id}, or it is not yours`)
}

/** The job at its end, or as it is when the time is over or its caller has gone. */
export async function awaitEnd(
  job: JobView,
  seconds: number,
  { db, watcher, gone }: { db: TenantDatabase; watcher: JobWatcher; gone: AbortSignal },
): Promise<JobView> {
  const overAt = performance.now() + seconds * 1_000
  for (let latest = job; ; ) {
    const leftMs = overAt - performance.now()
    if (hasEnded(latest.state) || leftMs <= 0 || gone.aborted) return latest
    await watcher.untilEnded(job.job_id, leftMs, gone, { orRung: true })
    const found = await readOwnJobView(db, job.job_id)
    if (found === null || watcher.isStopped) return found ?? latest
    latest = found
  }
}

/** Aborted once the caller has gone, so that nobody waits for it. */
export function untilGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  if (reply.raw.destroyed || reply.raw.socket?.destroyed === true) gone.abort()
  else reply.raw.once('close', () => gone.abort())
  return gone.signal
}
