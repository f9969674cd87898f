import { jobLogsSchema } from '@ergon/contract'
import { z } from 'zod'
import { readJobLogs } from '../../control/job-logs.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { refusals } from '../refusals.ts'
import { jobNotFound, jobParams } from './job-parts.ts'

const offset = z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).default(0)

export function addJobLogsRoute(app: ApiApp, _context: ApiContext): void {
  app.get(
    '/v1/jobs/:job_id/logs',
    {
      config: { access: 'read' },
      schema: {
        operationId: 'getJobLogs',
        tags: ['jobs'],
        summary:
          'What the newest attempt of a job has written to standard output and standard error, a piece at a time',
        description:
          'Ask again with `attempt` and both `next_offset` until `is_complete`. /v1/jobs/{job_id}/events sends the same as it comes.',
        params: jobParams,
        querystring: z.object({
          attempt: z
            .exactOptional(z.coerce.number().int().min(0).max(1_000_000))
            .describe('The attempt that the offsets count in: a newer one is read from its beginning'),
          stdout_offset: offset,
          stderr_offset: offset,
        }),
        response: { 200: jobLogsSchema, ...refusals(401, 403, 404, 422, 429) },
      },
    },
    async (request) => {
      const { job_id: id } = request.params
      const { attempt, stdout_offset: stdout, stderr_offset: stderr } = request.query
      const logs = await readJobLogs(callerOf(request).db, id, { attempt: attempt ?? null, stdout, stderr })
      if (logs === null) throw jobNotFound(id)
      return logs
    },
  )
}
