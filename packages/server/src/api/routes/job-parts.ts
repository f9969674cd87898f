import { MAX_WAIT_SECONDS } from '@ergon/contract'
import type { FastifyReply } from 'fastify'
import { z } from 'zod'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

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

/** Aborted once the caller has gone, so that nobody waits for it. */
export function untilGone(reply: FastifyReply): AbortSignal {
  const gone = new AbortController()
  if (reply.raw.destroyed || reply.raw.socket?.destroyed === true) gone.abort()
  else reply.raw.once('close', () => gone.abort())
  return gone.signal
}
