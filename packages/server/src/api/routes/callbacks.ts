import { type Callback, CALLBACK_STATES, callbackSchema } from '@ergon/contract'
import { z } from 'zod'
import { type CallbackRow, listCallbacks } from '../../control/callbacks.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { retryOwnCallback } from '../../queue/callbacks.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { refusals } from '../refusals.ts'

export function addCallbackRoutes(app: ApiApp, { lists }: ApiContext): void {
  app.get(
    '/v1/callbacks',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'listCallbacks',
        tags: ['operations'],
        summary: 'Callbacks that are owed and have not run, the oldest first',
        querystring: z.object({
          state: z.exactOptional(z.enum(CALLBACK_STATES)),
          limit: z.coerce.number().int().min(1).max(500).default(50),
        }),
        response: { 200: z.object({ items: z.array(callbackSchema) }), ...refusals(401, 403, 422, 429) },
      },
    },
    async (request) => {
      const { state = null, limit } = request.query
      const { db, principal } = callerOf(request)
      const rows = await lists.take(principal.tokenId, () => listCallbacks(db, { state, limit }))
      return { items: rows.map(toCallback) }
    },
  )

  app.post(
    '/v1/callbacks/:callback_id/retry',
    {
      config: { access: 'admin' },
      schema: {
        operationId: 'retryCallback',
        tags: ['operations'],
        summary: 'Have a callback run as soon as a worker can, with its whole budget of attempts',
        params: z.object({ callback_id: z.string().regex(/^[0-9]{1,18}$/) }),
        response: { 200: z.object({ outcome: z.enum(['queued', 'running']) }), ...refusals(401, 403, 404, 422, 429) },
      },
    },
    async (request) => {
      const { callback_id: id } = request.params
      const outcome = await retryOwnCallback(callerOf(request).db, id)
      if (outcome === 'not_found')
        throw new ErgonError('CALLBACK_NOT_FOUND', `there is no callback ${id} that has not run, or it is not yours`)
      return { outcome }
    },
  )
}

function toCallback({
  service_name: service,
  due_at: dueAt,
  last_error_at: lastAt,
  recorded_at: recordedAt,
  ...row
}: CallbackRow): Callback {
  return {
    ...row,
    service,
    due_at: dueAt.toISOString(),
    last_error_at: lastAt?.toISOString() ?? null,
    recorded_at: recordedAt.toISOString(),
  }
}
