import { createHash } from 'node:crypto'
import { jobSummarySchema, type JobView, jobViewSchema, submitBatchSchema, submitRequestSchema } from '@ergon/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { correctIdempotencyKey, takeIdempotencyKey } from '../../control/idempotency.ts'
import { composeJobRow } from '../../control/submission.ts'
import { readOwnJobView } from '../../control/read-job.ts'
import { readJobSummaries, submitNewJob, type SubmitOutcome, submitJobs } from '../../control/submit-jobs.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { JobRow } from '../../queue/insert-jobs.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { type Principal, requireScope, tenantFor } from '../principal.ts'
import { answer } from '../answers.ts'
import { refusals } from '../refusals.ts'
import { awaitEnd, jobNotFound, untilGone, waitQuery } from './job-parts.ts'

const BATCH_BYTES = 8 * 1024 * 1024
/** Without outputs: a hundred jobs that had been submitted before may have left a hundred megabytes. */
const submittedSchema = z.object({ items: z.array(jobSummarySchema) })
const KEY = /^[\x21-\x7e]{1,255}$/
const keyHeader = z.object({
  'idempotency-key': z
    .exactOptional(z.string())
    .describe('Kept for 24 hours: the same request with the same key gives the same jobs, another request is refused'),
})

export function addSubmitRoutes(app: ApiApp, context: ApiContext): void {
  app.post(
    '/v1/jobs',
    {
      config: { access: 'submit' },
      schema: {
        operationId: 'submitJob',
        tags: ['jobs'],
        summary: 'Submit a job: a payload of the job contract, or a call of a service’s operation',
        headers: keyHeader,
        querystring: z.object({ wait: waitQuery }),
        body: submitRequestSchema,
        response: {
          201: answer(jobViewSchema, 'The job is new'),
          200: answer(jobViewSchema, 'It was submitted before, and is as it is now'),
          ...refusals(400, 401, 403, 409, 413, 415, 422, 429, 503),
        },
      },
    },
    async (request, reply) => {
      const { db, principal } = callerOf(request)
      const { wait } = request.query
      const row = composeRow(context, request, request.body, [])
      const makeJob = async () => {
        const { job, isNew } = await submitOne(request, reply, row)
        reply.code(isNew ? 201 : 200).header('location', `/v1/jobs/${job.job_id}`)
        return job
      }
      if (wait === 0) return makeJob()
      // A place first: whoever is refused has submitted nothing.
      return context.waits.hold(principal, async () =>
        awaitEnd(await makeJob(), wait, { db, watcher: context.watcher, gone: untilGone(reply) }),
      )
    },
  )

  app.post(
    '/v1/jobs/batch',
    {
      bodyLimit: BATCH_BYTES,
      config: { access: 'submit' },
      schema: {
        operationId: 'submitBatch',
        tags: ['jobs'],
        summary: 'Submit several jobs in one transaction: all of them or none',
        headers: keyHeader,
        body: submitBatchSchema,
        response: {
          201: answer(submittedSchema, 'In the order of the request'),
          200: answer(submittedSchema, 'All were submitted before'),
          ...refusals(400, 401, 403, 409, 413, 415, 422, 429),
        },
      },
    },
    async (request, reply) => {
      const rows = request.body.jobs.map((job, index) => composeRow(context, request, job, ['jobs', String(index)]))
      requireDifferent(rows)
      const { ids, isNew } = await submit(request, reply, rows)
      reply.code(isNew ? 201 : 200)
      return { items: await readJobSummaries(callerOf(request).db, ids) }
    },
  )
}

function composeRow(
  context: ApiContext,
  request: FastifyRequest,
  job: z.output<typeof submitRequestSchema>,
  path: readonly string[],
): JobRow {
  const { principal } = callerOf(request)
  requireEntityScope(principal, job, path)
  const stated = 'service' in job ? (job.tenant_id ?? null) : (job.workspace_id ?? null)
  const submitter = { tokenId: principal.tokenId, tokenName: principal.tokenName, requestId: request.id }
  return composeJobRow(
    { request: job, path, tenantId: tenantFor(principal, stated), isBound: principal.tenant !== 'all', submitter },
    context.findOperation,
  )
}

/** An entity chooses which of the application's functions the job's end calls. */
function requireEntityScope(
  principal: Principal,
  job: z.output<typeof submitRequestSchema>,
  path: readonly string[],
): void {
  for (const field of ['entity_type', 'entity_pk'])
    if (Object.hasOwn(job, field)) requireScope(principal, 'entities', ['body', ...path, field].join('/'))
}

/** One statement where the job is new and nobody gave a key, which is nearly always. */
async function submitOne(
  request: FastifyRequest,
  reply: FastifyReply,
  row: JobRow,
): Promise<{ job: JobView; isNew: boolean }> {
  const { db } = callerOf(request)
  if (request.headers['idempotency-key'] === undefined) {
    const job = await submitNewJob(db, row, request.bodyText)
    if (job !== null) return { job, isNew: true }
  }
  const { ids, isNew } = await submit(request, reply, [row])
  const job = await readOwnJobView(db, ids[0] ?? row.id)
  if (job === null) throw jobNotFound(ids[0] ?? row.id)
  return { job, isNew }
}

async function submit(request: FastifyRequest, reply: FastifyReply, rows: readonly JobRow[]): Promise<SubmitOutcome> {
  const { db, principal } = callerOf(request)
  const key = request.headers['idempotency-key']
  if (key === undefined)
    return rows.length === 1
      ? submitJobs(db, rows, request.bodyText)
      : db.transaction((transaction) => submitJobs(transaction, rows, request.bodyText))
  if (typeof key !== 'string' || !KEY.test(key))
    throw new ErgonError('REQUEST_INVALID', 'Idempotency-Key: expected 1 to 255 visible ASCII characters')
  const call = {
    key,
    tenantId: principal.tenant === 'all' ? null : principal.tenant.tenantId,
    fingerprint: createHash('sha256')
      .update(`${request.method} ${request.routeOptions.url}\n${request.bodyText}`)
      .digest(),
  }
  return db.transaction(async (transaction) => {
    const ids = rows.map(({ id }) => id)
    const before = await takeIdempotencyKey(transaction, call, ids)
    if (before === null) {
      const made = await submitJobs(transaction, rows, request.bodyText)
      // Jobs that were there before under another id than the one that was drawn for them.
      if (made.ids.some((id, index) => id !== ids[index])) await correctIdempotencyKey(transaction, call, made.ids)
      return made
    }
    reply.header('idempotency-replayed', 'true')
    return { ids: before, isNew: true }
  })
}

function requireDifferent(rows: readonly JobRow[]): void {
  const seen = new Set<string>()
  for (const { id, identifier } of rows) {
    if (seen.has(id) || seen.has(identifier))
      throw new ErgonError(
        'REQUEST_INVALID',
        `body/jobs: two of them have the id ${id} or the identifier "${identifier.slice(0, 200)}"`,
      )
    seen.add(id).add(identifier)
  }
}
