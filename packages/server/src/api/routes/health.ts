import { z } from 'zod'
import type { ApiContext } from '../api-context.ts'
import type { ApiApp } from '../api-app.ts'

/** How long an answer of the database counts, in ms, since anybody may ask. */
const REMEMBERED_MS = 1_000

export function addHealthRoutes(app: ApiApp, { pool, isStopping }: ApiContext): void {
  let last = { at: -Infinity, answers: Promise.resolve(false) }
  const answers = () => {
    if (performance.now() - last.at > REMEMBERED_MS) {
      const asked = pool.query('select 1').then(
        () => true,
        () => false,
      )
      last = { at: performance.now(), answers: asked }
    }
    return last.answers
  }

  app.get(
    '/health',
    {
      config: { access: 'public', isProbe: true },
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
      config: { access: 'public', isProbe: true },
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
      if (await answers()) return { status: 'ready' as const }
      return reply.code(503).send({ status: 'no database' as const })
    },
  )
}
