import { Agent, type Dispatcher } from 'undici'
import { GuardedConnector } from './guarded-connector.ts'
import type { HostResolver } from './host-resolver.ts'
import type { HttpConfig } from './http-config.ts'
import type { HttpRequest } from './redirect.ts'

/** Below what servers close idle connections after: a request on a connection that is just being closed fails. */
const KEEP_ALIVE_MS = 4_000
/** Whatever a server proposes; a service that was replaced leaves nothing behind after it. */
const MAX_KEEP_ALIVE_MS = 30_000
const MAX_HEADER_BYTES = 32_768

export type HttpAnswer = Dispatcher.ResponseData

/** One service's own connections, reused between its jobs and shared with no other service. Reads no proxy settings. */
export class HttpClient {
  readonly config: HttpConfig
  readonly #guard: GuardedConnector
  readonly #agent: Agent

  constructor(config: HttpConfig, resolver: HostResolver) {
    this.config = config
    this.#guard = new GuardedConnector({
      policy: config.policy,
      resolver,
      connectTimeoutMs: config.connectTimeoutMs,
    })
    this.#agent = new Agent({
      connect: this.#guard.connector,
      headersTimeout: config.headersTimeoutMs,
      bodyTimeout: config.bodyTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      keepAliveMaxTimeout: MAX_KEEP_ALIVE_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
      allowH2: false,
      pipelining: 1,
    })
  }

  /** Sends one request and follows nothing; the answer's body is the caller's to read or to destroy. */
  send({ method, url, headers, body }: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    return this.#agent.request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers,
      body,
      signal,
    })
  }

  /** The private addresses that the origin's connections lead to. */
  privateAddressesOf(origin: string): string[] {
    return this.#guard.privateAddressesOf(origin)
  }

  close(): Promise<void> {
    return this.#agent.close()
  }
}
