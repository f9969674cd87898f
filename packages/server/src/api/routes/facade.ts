import { executeAnswerSchema, executeRequestSchema, executorHealthSchema } from '@ergon/contract'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { composeJobRow } from '../../control/submission.ts'
import { TenantDatabase } from '../../platform/db/tenant-database.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ApiContext } from '../api-context.ts'
import { type ApiApp, callerOf } from '../api-app.ts'
import { composeAnswer, errorBody } from '../facade/compose-answer.ts'
import { composeJob } from '../facade/compose-job.ts'
import { Executions } from '../facade/executions.ts'
import { watchExecutor } from '../facade/executor-health.ts'
import { FACADE_TENANT } from '../facade/facade-rules.ts'
import { findRefusal } from '../facade/find-refusal.ts'
import { writeAnswer } from '../facade/write-answer.ts'
import { type Principal, tenantFor } from '../principal.ts'
import { toErgonError, toProblem } from '../problem.ts'
import { RateLimitError } from '../rate-limits.ts'
import { untilGone } from './job-parts.ts'

/** 200 000 characters, each written as two escapes, and the rest of the body. */
const BODY_BYTES = 200_000 * 12 + 4_096
const DEFAULT_TIMEOUT_SECONDS = 10

/** Whoever sits at this machine. */
const ANYBODY: Principal = {
  tokenId: FACADE_TENANT,
  tokenName: 'the facade, without a token',
  scopes: ['submit'],
  tenant: { tenantId: FACADE_TENANT },
  rateLimitPerMinute: null,
}
/** What proxies add: with one of them the other end of the socket is not who asks. */
const PROXY_HEADER = /^(forwarded|x-forwarded-.*|x-real-ip|via)$/

/** A client of its own speaks this, and its wire format is the contract's, not that of /v1. */
export function addFacadeRoutes(app: ApiApp, context: ApiContext): void {
  const rules = context.facade
  if (rules === null) return
  const health = watchExecutor({
    db: new TenantDatabase(context.pool, 'all'),
    listEnvironments: context.listEnvironments,
    seesEnvironments: rules.seesEnvironments,
  })
  const onError = (error: unknown) => context.logger.warn({ err: error }, 'an execution is not looked after')
  const executions = new Executions({ watcher: context.watcher, health, onError })

  app.get(
    '/health/executor',
    {
      config: { access: 'public' },
      schema: {
        operationId: 'getExecutorHealth',
        tags: ['facade'],
        summary: 'Whether code could run at this moment',
        security: [],
        response: { 200: executorHealthSchema },
      },
    },
    () => health(),
  )

  app.post(
    '/execute/python',
    {
      bodyLimit: BODY_BYTES,
      config: {
        access: 'submit',
        withoutToken(request) {
          const refusal = findRefusal(describe(request), { hosts: rules.hosts, origins: context.corsOrigins })
          if (refusal === null) return ANYBODY
          throw new ErgonError('FACADE_CLOSED', `without a token this request is not taken: ${refusal}`)
        },
      },
      schema: {
        operationId: 'executePython',
        tags: ['facade'],
        summary: 'Run Python and wait for its end; on the machine of the API without a token too',
        security: [{ token: [] }, {}],
        body: executeRequestSchema,
        response: {
          200: executeAnswerSchema.describe('The code ended, successfully or not'),
          422: executeAnswerSchema.describe('The request is wrong: stderr says what and where'),
          500: executeAnswerSchema.describe('A fault that is not the code’s'),
          503: executeAnswerSchema.describe('The sandbox cannot run at this moment'),
        },
      },
      errorHandler(error, request, reply) {
        refuse(error, request, reply, context)
      },
    },
    async (request, reply) => {
      const { code, timeoutSeconds, timeout_seconds } = request.body
      const { principal, db } = callerOf(request)
      const hasToken = principal !== ANYBODY
      const program = { code, timeoutSeconds: timeoutSeconds ?? timeout_seconds ?? DEFAULT_TIMEOUT_SECONDS, hasToken }
      const payload = composeJob(program, rules.ceilings)
      const submitter = { tokenId: principal.tokenId, tokenName: principal.tokenName, requestId: request.id }
      const submission = { request: payload, path: [], tenantId: tenantFor(principal, null), isBound: true, submitter }
      const row = composeJobRow(submission, context.findOperation)
      const job = await executions.run({ ...program, row, source: JSON.stringify(payload), db, gone: untilGone(reply) })
      const answer = composeAnswer(job)
      // Of another machine's worker the files are not here: that is no fault of the caller's, and not its business where.
      const content = await writeAnswer(answer, context.openArtifact).catch((cause: unknown) => {
        throw new Error('a file of the answer cannot be read', { cause })
      })
      return reply
        .code(answer.httpStatus)
        .type('application/json; charset=utf-8')
        .send(content as never)
    },
  )
}

function describe({ headers, socket }: FastifyRequest) {
  return {
    peer: socket.remoteAddress,
    port: socket.localPort,
    host: headers.host,
    origin: headers.origin,
    proxyHeaders: Object.keys(headers).filter((name) => PROXY_HEADER.test(name)),
  }
}

/** Every refusal has the shape of an answer: the clients of this route know no other. */
function refuse(thrown: Error, request: FastifyRequest, reply: FastifyReply, { logger }: ApiContext): void {
  const error = toErgonError(thrown)
  const { status, detail } = toProblem(error, request.id)
  if (status >= 500 && !reply.raw.destroyed)
    logger.error({ err: error, requestId: request.id, route: request.routeOptions.url }, error.message)
  if (status === 401) reply.header('www-authenticate', 'Bearer')
  if (status === 503) reply.header('retry-after', '1')
  if (error instanceof RateLimitError) reply.header('retry-after', String(error.retryAfterSeconds))
  const body =
    status < 500
      ? errorBody('VALIDATION_ERROR', `Invalid execution request: ${detail}`)
      : errorBody('INTERNAL_ERROR', TOLD.has(error.code) ? error.message : detail)
  reply.code(BAD_REQUESTS.has(status) ? 422 : status).send(body)
}

/** What a body may be refused with elsewhere. */
const BAD_REQUESTS: ReadonlySet<number> = new Set([400, 413, 415])
/** Refusals of our own making, whose words name nothing of this machine. */
const TOLD: ReadonlySet<string> = new Set(['EXECUTOR_BUSY', 'EXECUTOR_UNAVAILABLE', 'EXECUTION_ABANDONED'])
