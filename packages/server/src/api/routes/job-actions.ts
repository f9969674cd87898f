import { jobViewSchema } from '@ergon/contract'
import { cancelOwnJob, retryOwnJob } from '../../control/change-job.ts'
import { readJobView } from '../../control/read-job.ts'
import type { Database } from '../../platform/db/database.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { refusals } from '../refusals.ts'
import { jobNotFound, jobParams } from './job-parts.ts'

export function addJobActionRoutes(app: ApiApp, _context: ApiContext): void {
  app.post(
    '/v1/jobs/:job_id/cancel',
    {
      config: { access: 'cancel' },
      schema: {
        operationId: 'cancelJob',
        tags: ['jobs'],
        summary: 'Cancel a job that has not ended; one that runs is killed, and its result will not count',
        params: jobParams,
        response: { 200: jobViewSchema, ...refusals(401, 403, 404, 409, 422, 429) },
      },
    },
    async (request) => {
      const { job_id: id } = request.params
      const { db, principal } = callerOf(request)
      const outcome = await cancelOwnJob(db, id, { tokenId: principal.tokenId, requestId: request.id })
      if (outcome === 'not_found') throw jobNotFound(id)
      const job = await existing(db, id)
      // Who cancels twice has what it wants.
      if (outcome === 'cancelled' || job.state === 'cancelled') return job
      throw new ErgonError('JOB_FINISHED', `job ${id} has ended already: it is ${job.status}`)
    },
  )

  app.post(
    '/v1/jobs/:job_id/retry',
    {
      config: { access: 'cancel' },
      schema: {
        operationId: 'retryJob',
        tags: ['jobs'],
        summary: 'Queue a failed job again, dead letters too',
        params: jobParams,
        response: { 200: jobViewSchema, ...refusals(401, 403, 404, 409, 422, 429) },
      },
    },
    async (request) => {
      const { job_id: id } = request.params
      const { db, principal } = callerOf(request)
      const outcome = await retryOwnJob(db, id, { tokenId: principal.tokenId, requestId: request.id })
      if (outcome === 'not_found') throw jobNotFound(id)
      const job = await existing(db, id)
      if (outcome === 'queued') return job
      throw new ErgonError('JOB_NOT_FAILED', `job ${id} is ${job.status}, and only a failed job is tried again`)
    },
  )
}

async function existing(db: Database, id: string) {
  const job = await readJobView(db, id)
  if (job === null) throw jobNotFound(id)
  return job
}
