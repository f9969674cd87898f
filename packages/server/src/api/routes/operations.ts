import { queueStatisticsSchema, workerListSchema } from '@ergon/contract'
import { listWorkers } from '../../control/list-workers.ts'
import { readQueueStatistics } from '../../control/queue-statistics.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { requireAllTenants } from '../principal.ts'
import { refusals } from '../refusals.ts'

export function addOperationsRoutes(app: ApiApp, { lists }: ApiContext): void {
  app.get(
    '/v1/workers',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'listWorkers',
        tags: ['operations'],
        summary: 'The workers that claim jobs; for tokens of all tenants, since machines belong to none',
        response: { 200: workerListSchema, ...refusals(401, 403, 429) },
      },
    },
    async (request) => {
      const { db, principal } = callerOf(request)
      requireAllTenants(principal)
      return { items: await lists.take(principal.tokenId, () => listWorkers(db)) }
    },
  )

  app.get(
    '/v1/queue',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'getQueueStatistics',
        tags: ['operations'],
        summary: 'What waits and runs, by lane and by operation, of the jobs that the token sees',
        response: { 200: queueStatisticsSchema, ...refusals(401, 403, 429) },
      },
    },
    (request) => {
      const { db, principal } = callerOf(request)
      return lists.take(principal.tokenId, () => readQueueStatistics(db))
    },
  )
}
