import { hasEnded, jobFilterSchema, jobPageSchema, jobViewSchema } from '@ergon/contract'
import { z } from 'zod'
import { listJobPage } from '../../control/job-page.ts'
import { readOwnJobView } from '../../control/read-job.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { refusals } from '../refusals.ts'
import { awaitEnd, jobNotFound, jobParams, untilGone, waitQuery } from './job-parts.ts'

const pageQuery = {
  limit: z.coerce.number().int().min(1).max(500).default(50),
  cursor: z.exactOptional(z.string().max(500)),
}

export function addJobRoutes(app: ApiApp, { watcher, waits, lists }: ApiContext): void {
  app.get(
    '/v1/jobs',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'listJobs',
        tags: ['jobs'],
        summary: 'Jobs from the newest to the oldest, a page at a time',
        querystring: jobFilterSchema.extend(pageQuery),
        response: { 200: jobPageSchema, ...refusals(401, 403, 422, 429) },
      },
    },
    (request) => {
      const { limit, cursor, ...filter } = request.query
      const { db, principal } = callerOf(request)
      const question = { filter, limit, cursor: cursor ?? null, tenantId: db.tenantId }
      return lists.take(principal.tokenId, () => listJobPage(db, question))
    },
  )

  app.get(
    '/v1/dead-letters',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'listDeadLetters',
        tags: ['operations'],
        summary: 'Failed jobs that nobody tries again, with the reason, from the newest to the oldest',
        querystring: jobFilterSchema.omit({ status: true }).extend(pageQuery),
        response: { 200: jobPageSchema, ...refusals(401, 403, 422, 429) },
      },
    },
    (request) => {
      const { limit, cursor, ...filter } = request.query
      const { db, principal } = callerOf(request)
      const question = { filter, limit, cursor: cursor ?? null, tenantId: db.tenantId, onlyDeadLetters: true }
      return lists.take(principal.tokenId, () => listJobPage(db, question))
    },
  )

  app.get(
    '/v1/jobs/:job_id',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'getJob',
        tags: ['jobs'],
        summary: 'A job with all that it left, at once or at its end',
        params: jobParams,
        querystring: z.object({ wait: waitQuery }),
        response: { 200: jobViewSchema, ...refusals(401, 403, 404, 422, 429, 503) },
      },
    },
    async (request, reply) => {
      const { job_id: id } = request.params
      const { wait } = request.query
      const { db, principal } = callerOf(request)
      const job = await readOwnJobView(db, id)
      if (job === null) throw jobNotFound(id)
      if (wait === 0 || hasEnded(job.state)) return job
      return waits.hold(principal, () => awaitEnd(job, wait, { db, watcher, gone: untilGone(reply) }))
    },
  )
}
