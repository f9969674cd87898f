import {
  artifactSchema,
  jobEndEventSchema,
  jobFeedFilterSchema,
  jobOutputEventSchema,
  jobProgressEventSchema,
  jobStatusEventSchema,
  jobViewSchema,
} from '@ergon/contract'
import { z } from 'zod'
import { OUTPUT_START, readOutput } from '../../control/read-output.ts'
import { TenantDatabase } from '../../platform/db/tenant-database.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { parseFeedPosition } from '../live/feed-position.ts'
import { followFeed } from '../live/follow-feed.ts'
import { followJob } from '../live/follow-job.ts'
import { JobFeed } from '../live/job-feed.ts'
import { JOB_START, parseJobPosition } from '../live/job-position.ts'
import { OpenStreams, STREAM_LIMITS } from '../live/open-streams.ts'
import { Turns } from '../turns.ts'
import { WaitBoard } from '../live/wait-board.ts'
import { refusals } from '../refusals.ts'
import { jobNotFound, jobParams } from './job-parts.ts'

/** Connections that all streams of a process may use at a time. */
const MAX_READING = 4

const resumeHeader = z.object({
  'last-event-id': z
    .exactOptional(z.string().max(200))
    .describe('The id of the last event that the client has: the stream goes on behind it'),
})

/** Server-sent events: docs/api-live.md. */
export function addLiveRoutes(app: ApiApp, context: ApiContext): void {
  const { pool, tokens, watcher, logger, streamLimits: limits = STREAM_LIMITS } = context
  const onError = (error: unknown) => logger.warn({ err: error }, 'a live stream cannot be read; it is tried again')
  const everyTenant = new TenantDatabase(pool, 'all')
  const streams = new OpenStreams({ limits, stillHolds: (principal) => tokens.stillHolds(principal), onError })
  const waits = new WaitBoard(everyTenant, onError)
  const feed = new JobFeed(everyTenant, onError)
  const turns = new Turns(MAX_READING)
  const catchUps = new Turns(1)
  // Before the server waits for what is under way.
  app.addHook('preClose', async () => {
    streams.stop()
    waits.stop()
    await feed.stop()
  })

  app.get(
    '/v1/jobs/:job_id/events',
    {
      exposeHeadRoute: false,
      config: { access: 'read' },
      schema: {
        operationId: 'followJob',
        tags: ['live'],
        summary: 'Follow a job: its state, its output as it comes, its artifacts, its end',
        params: jobParams,
        headers: resumeHeader,
        response: {
          200: eventStream(
            'The events status, progress, stdout, stderr, artifact, and last of all end, with the data listed here',
            [jobStatusEventSchema, jobProgressEventSchema, jobOutputEventSchema, artifactSchema, jobViewSchema],
          ),
          204: z.null().describe('The client has the event `end`: nothing follows'),
          ...refusals(401, 403, 404, 422, 429, 503),
        },
      },
    },
    async (request, reply) => {
      const { job_id: jobId } = request.params
      const { db, principal } = callerOf(request)
      const { tokenId } = principal
      const lastId = request.headers['last-event-id'] ?? ''
      const from = lastId === '' ? JOB_START : parseJobPosition(jobId, lastId)
      if ((await turns.take(tokenId, () => readOutput(db, jobId, OUTPUT_START, 1))) === null) throw jobNotFound(jobId)
      if (from.isOver) return reply.code(204).send(null)
      const stream = streams.open(reply, principal)
      void followJob(stream, { db, tokenId, watcher, waits, turns, onError }, jobId, from)
      return reply
    },
  )

  app.get(
    '/v1/events',
    {
      exposeHeadRoute: false,
      config: { access: 'read' },
      schema: {
        operationId: 'followEnds',
        tags: ['live'],
        summary: 'Follow the ends of all attempts that the token sees, each once and in order',
        headers: resumeHeader,
        querystring: jobFeedFilterSchema,
        response: {
          200: eventStream('The events ended, lost and cancelled, with this data', [jobEndEventSchema]),
          ...refusals(401, 403, 422, 429, 503),
        },
      },
    },
    async (request, reply) => {
      const caller = callerOf(request)
      const lastId = request.headers['last-event-id'] ?? ''
      const asked = lastId === '' ? null : parseFeedPosition(lastId)
      const now = await turns.take(caller.principal.tokenId, () => feed.now())
      const stream = streams.open(reply, caller.principal)
      const source = { caller, feed, turns, catchUps, filter: request.query, onError }
      void followFeed(stream, source, asked ?? now, now)
      return reply
    },
  )
}

function eventStream(description: string, data: readonly z.ZodType[]) {
  return { description, content: { 'text/event-stream': { schema: z.union(data) } } }
}
