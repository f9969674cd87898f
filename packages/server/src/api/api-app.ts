import type { IncomingMessage, ServerResponse } from 'node:http'
import type { TokenScope } from '@ergon/contract'
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest, RawServerDefault } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import type { TenantDatabase } from '../platform/db/tenant-database.ts'
import type { Principal } from './principal.ts'

export type ApiApp = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>

/** Who may call a route: bearers of a token with the scope, or anybody. */
export type RouteAccess = TokenScope | 'public'

declare module 'fastify' {
  interface FastifyContextConfig {
    access?: RouteAccess
    /** Who calls where a request of this route has no token; throws what refuses it. Without this a token is needed. */
    withoutToken?: (request: FastifyRequest) => Principal
    /** Whether it is asked by those who look after the process: cheap, and never limited. */
    isProbe?: boolean
    /** Whether a signed address is as good as a token: the route has to check the signature. */
    isSignable?: boolean
    /** How long the body may take to come, in ms. */
    bodyTimeMs?: number
    /** Of a body that is read as bytes and has no schema. */
    bodyMediaType?: string
  }
  interface FastifyRequest {
    /** Null on public routes. */
    caller: Caller | null
    /** The JSON body as it came. */
    bodyText: string
  }
}

/** Who asks, and the database as its tenant sees it. */
export interface Caller {
  principal: Principal
  db: TenantDatabase
}

/** Whoever calls a route that is not public. */
export function callerOf({ caller }: FastifyRequest): Caller {
  if (caller === null) throw new Error('a public route asked who calls')
  return caller
}
