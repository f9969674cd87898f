import cors from '@fastify/cors'
import fastify, { type FastifyBaseLogger, type FastifyReply, type FastifyRequest, LogController } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { z } from 'zod'
import { TenantDatabase } from '../platform/db/tenant-database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import type { ApiApp } from './api-app.ts'
import type { ApiContext } from './api-context.ts'
import { toJson } from './job-json.ts'
import { readJsonText } from './json-body.ts'
import { DOCS, serveDescription } from './openapi.ts'
import { requireScope } from './principal.ts'
import { toErgonError, toProblem } from './problem.ts'
import { createRateLimit, type RateLimit, RateLimitError } from './rate-limits.ts'
import { addRoutes } from './routes/all.ts'
import { cutSlowBodies, LONGEST_BODY_MS } from './slow-bodies.ts'
import { checkPart } from './strict-schema.ts'

/** Beyond it connections are closed unread, so that descriptors are left for the database. */
const MAX_CONNECTIONS = 10_000

/** The largest body of a route that says nothing else: a job's input is at most 1 MiB in the database. */
const MAX_BODY_BYTES = 2 * 1024 * 1024

/** The whole HTTP side, not listening yet. Every route says who may call it; one that does not is a fault at start. */
export async function createHttpApp(context: ApiContext): Promise<ApiApp> {
  const loggerInstance: FastifyBaseLogger = context.logger
  const app: ApiApp = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    trustProxy: context.trustedProxies.length === 0 ? false : [...context.trustedProxies],
    bodyLimit: MAX_BODY_BYTES,
    // One for each request costs more than our few lines, which name the request themselves.
    childLoggerFactory: (logger) => logger,
    genReqId: () => crypto.randomUUID(),
    // Headers, and the whole request, of slow callers; looked at each second. Most bodies have less: slow-bodies.ts.
    http: { headersTimeout: 10_000, requestTimeout: LONGEST_BODY_MS, connectionsCheckingInterval: 1_000 },
    requestTimeout: LONGEST_BODY_MS,
    // A socket that moves nothing for longer than any answer is waited for: its other side takes nothing, or is gone.
    connectionTimeout: 180_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    // What is refused before there is a route: an address that is none.
    frameworkErrors: (error, request, reply) => void answerError(error, request, reply, context.logger),
    // With the checks of the GET, whose handler answers; streams have none.
    exposeHeadRoutes: true,
    return503OnClosing: true,
    routerOptions: { maxParamLength: 200 },
  }).withTypeProvider<ZodTypeProvider>()
  app.server.maxConnections = MAX_CONNECTIONS

  parseBodies(app)
  cutSlowBodies(app)
  app.setValidatorCompiler(({ schema, httpPart = '' }) => (value: unknown) => ({
    value: checkPart(schema as unknown as z.ZodType, httpPart, value),
  }))
  // Checking what we answer would cost more than making it; tests do.
  app.setSerializerCompiler(() => toJson)
  answerErrors(app, context)
  logRequests(app, context)
  await app.register(cors, {
    // A page of another origin learns nothing, not even which methods there are.
    origin: (origin, done) => done(null, origin !== undefined && context.corsOrigins.includes(origin) ? origin : false),
    methods: ['GET', 'POST', 'PUT'],
    allowedHeaders: [
      ...['authorization', 'content-type', 'idempotency-key', 'last-event-id'],
      ...['content-digest', 'range', 'if-range', 'if-none-match'],
    ],
    exposedHeaders: [
      ...['location', 'x-request-id', 'idempotency-replayed', 'retry-after'],
      ...['content-disposition', 'content-length', 'content-range', 'etag'],
    ],
    maxAge: 600,
  })
  requireTokens(app, context, await createRateLimit(app))
  await serveDescription(app, context.version)
  addRoutes(app, context)
  return app
}

/**
 * On every answer. It is data: nothing of it may run, be framed, be guessed at or be kept by a browser or what stands before
 * it. The page of the documentation has a policy of its own.
 */
const HEADERS = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none';frame-ancestors 'none'",
  'cross-origin-resource-policy': 'cross-origin',
  'referrer-policy': 'no-referrer',
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

function parseBodies(app: ApiApp): void {
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    try {
      request.bodyText = readJsonText(body as Buffer)
    } catch (error) {
      return done(error as Error)
    }
    // Refuses the keys __proto__ and constructor.prototype.
    return parseJson(request, request.bodyText, (error, value) =>
      error === null
        ? done(null, value)
        : done(new ErgonError('BODY_INVALID', `the body is not JSON: ${error.message.slice(0, 300)}`)),
    )
  })
}

/** One line a request: who, what, how it ended. Never a body, a query or a token. */
function logRequests(app: ApiApp, { logger }: ApiContext): void {
  app.addHook('onResponse', async (request, reply) => {
    const { method, id: requestId, ip, caller } = request
    const route = request.routeOptions.url ?? null
    const token = caller?.principal.tokenId ?? null
    const ms = Math.round(reply.elapsedTime)
    logger.info({ requestId, method, route, status: reply.statusCode, ms, ip, token }, 'request')
  })
}

function answerErrors(app: ApiApp, { logger }: ApiContext): void {
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(HEADERS).header('x-request-id', request.id)
  })
  app.setErrorHandler((thrown, request, reply) => answerError(thrown, request, reply, logger))
  app.setNotFoundHandler((request) => {
    throw new ErgonError(
      'ROUTE_NOT_FOUND',
      `there is no ${request.method} ${pathOf(request)}; /openapi.json has all there is`,
    )
  })
}

function answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply, logger: Logger): FastifyReply {
  const error = toErgonError(thrown)
  const problem = toProblem(error, request.id)
  if (problem.status >= 500)
    logger.error({ err: error, requestId: request.id, route: request.routeOptions.url }, error.message)
  if (problem.status === 401) reply.header('www-authenticate', 'Bearer')
  if (error instanceof RateLimitError) reply.header('retry-after', String(error.retryAfterSeconds))
  if (problem.status === 503) reply.header('retry-after', '1')
  // fastify would close at once: who still sends, a proxy above all, would find its connection broken and no answer.
  if (problem.status === 413) reply.removeHeader('connection')
  return reply.code(problem.status).type('application/problem+json').send(problem)
}

function requireTokens(app: ApiApp, { tokens, pool }: ApiContext, limit: RateLimit): void {
  app.decorateRequest('bodyText', '')
  app.decorateRequest('caller', null)
  app.addHook('onRoute', (route) => {
    if (route.url === DOCS || route.url.startsWith(`${DOCS}/`)) route.config = { ...route.config, access: 'public' }
    if (route.config?.access === undefined && route.method !== 'OPTIONS')
      throw new Error(`${String(route.method)} ${route.url} does not say who may call it`)
  })
  app.addHook('onRequest', async (request) => {
    const { access, withoutToken, isSignable = false } = request.routeOptions.config
    // Whoever looks after this process asks from anywhere, and must not be told that others ask too often.
    if (request.routeOptions.config.isProbe === true) return
    // A path that leads nowhere is counted too.
    if (access === undefined || access === 'public' || (isSignable && isSigned(request)))
      return limit.count(request, null)
    if (withoutToken !== undefined && request.headers.authorization === undefined) {
      await limit.count(request, null)
      const principal = withoutToken(request)
      request.caller = { principal, db: new TenantDatabase(pool, principal.tenant) }
      return
    }
    try {
      const principal = await tokens.authenticate(bearerOf(request), limit.guardLookUp(request))
      request.caller = { principal, db: new TenantDatabase(pool, principal.tenant) }
    } catch (error) {
      // By address, so that guessing is slow; but not what was refused unseen.
      if (!(error instanceof RateLimitError)) await limit.count(request, null)
      throw error
    }
    await limit.count(request, request.caller.principal)
    requireScope(request.caller.principal, access)
  })
}

function isSigned({ query }: FastifyRequest): boolean {
  return typeof query === 'object' && query !== null && Object.hasOwn(query, 'signature')
}

function bearerOf(request: FastifyRequest): string {
  const [, token] = /^Bearer +([^ ]+)$/i.exec(request.headers.authorization ?? '') ?? []
  if (token !== undefined) return token
  throw new ErgonError('TOKEN_REQUIRED', 'send a token: Authorization: Bearer ergon_…; `ergon tokens create` makes one')
}

/** Without the query, which may hold a signature. */
function pathOf({ url }: FastifyRequest): string {
  return (url.split('?')[0] ?? '').slice(0, 200)
}
