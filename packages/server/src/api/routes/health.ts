import { z } from 'zod'
import type { ApiContext } from '../api-context.ts'
import type { ApiApp } from '../api-app.ts'

export function addHealthRoutes(app: ApiApp, { pool, isStopping }: ApiContext): void {
  app.get(
    '/health',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getHealth',
        tags: ['health'],
        summary: 'Whether this process runs',
        security: [],
        response: { 200: z.object({ status: z.literal('ok') }) },
      },
    },
    () => ({ status: 'ok' as const }),
  )

  app.get(
    '/ready',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getReadiness',
        tags: ['health'],
        summary: 'Whether this process can serve: it is not stopping, and its database answers',
        security: [],
        response: {
          200: z.object({ status: z.literal('ready') }),
          503: z.object({ status: z.enum(['stopping', 'no database']) }),
        },
      },
    },
    async (_request, reply) => {
      if (isStopping()) return reply.code(503).send({ status: 'stopping' as const })
      try {
        await pool.query('select 1')
        return { status: 'ready' as const }
      } catch {
        return reply.code(503).send({ status: 'no database' as const })
      }
    },
  )
}
