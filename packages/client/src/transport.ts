import { ErgonApiError, ErgonConnectionError, NOT_A_PROBLEM, readApiError } from './api-error.ts'
import type { Clock } from './clock.ts'
import { decideRetry, parseRetryAfter, type RetryBounds, type Trouble } from './retry-policy.ts'

export type Fetch = (url: string, init: RequestInit) => Promise<Response>

export interface TransportOptions {
  /** Where the API is, without a slash at its end. */
  base: string
  token: string
  fetch: Fetch
  parseJson: (text: string) => unknown
}

export interface ApiRequest {
  method: 'GET' | 'POST' | 'PUT'
  path: string
  query?: Readonly<Record<string, string | number | undefined>>
  headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  json?: unknown
  /** Sent as it is. */
  bytes?: Blob | Uint8Array<ArrayBuffer> | ArrayBuffer
  accept?: string
  /** Whether doing it twice does no harm. */
  isRepeatable: boolean
  bounds: RetryBounds
  /** How long one try may take, in ms, up to what `read` gives. */
  timeoutMs: number
  signal: AbortSignal | undefined
}

interface Failure {
  trouble: Trouble | null
  error: Error
}

/** Sends requests with the token, tries again what may be, and makes errors of refusals. */
export class Transport {
  readonly #options: TransportOptions
  readonly #clock: Clock

  constructor(options: TransportOptions, clock: Clock) {
    this.#options = options
    this.#clock = clock
  }

  /** The answer's JSON; throws ErgonApiError, ErgonConnectionError or the signal's reason. */
  json(request: ApiRequest): Promise<unknown> {
    return this.send(request, (response) => this.#readJson(response))
  }

  /** What `read` makes of a good answer. */
  async send<T>(request: ApiRequest, read: (response: Response) => Promise<T>): Promise<T> {
    let failedAt: number | null = null
    for (let failures = 1; ; failures++) {
      request.signal?.throwIfAborted()
      const outcome = await this.#try(request, read)
      if ('value' in outcome) return outcome.value
      failedAt ??= this.#clock.now()
      const history = { failures, elapsedMs: this.#clock.now() - failedAt }
      const delay =
        outcome.trouble === null
          ? null
          : decideRetry(outcome.trouble, history, request.bounds, request.isRepeatable, this.#clock.random)
      if (delay === null) throw outcome.error
      await this.#clock.sleep(delay, request.signal)
    }
  }

  parseJson(text: string): unknown {
    return this.#options.parseJson(text)
  }

  /** Where a path of the API, or an address that it gave, is. */
  urlOf(path: string, query: ApiRequest['query'] = {}): string {
    const given = new URLSearchParams()
    for (const [name, value] of Object.entries(query)) if (value !== undefined) given.append(name, String(value))
    return `${this.#options.base}${path}${given.size === 0 ? '' : `?${given.toString()}`}`
  }

  async #try<T>(request: ApiRequest, read: (response: Response) => Promise<T>): Promise<{ value: T } | Failure> {
    const { signal, timeoutMs } = request
    // Not AbortSignal.timeout, which would cut a stream that is being read after `read`.
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
    try {
      const stop = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal])
      const response = await this.#options.fetch(this.urlOf(request.path, request.query), this.#initOf(request, stop))
      if (response.ok) return { value: await read(response) }
      const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), this.#clock.now())
      const trouble: Trouble = { kind: 'status', status: response.status, retryAfterMs }
      return { trouble, error: await readApiError(response) }
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof ErgonApiError) return { trouble: null, error }
      const cause = late.signal.aborted ? (late.signal.reason as Error) : error
      return { trouble: { kind: 'unreachable' }, error: this.#toConnectionError(request, cause) }
    } finally {
      clearTimeout(timer)
    }
  }

  #initOf({ method, json, bytes, accept, headers }: ApiRequest, signal: AbortSignal): RequestInit {
    const type = json !== undefined ? 'application/json' : bytes !== undefined ? 'application/octet-stream' : null
    const body = json !== undefined ? JSON.stringify(json) : bytes
    return {
      method,
      signal,
      // The token goes nowhere else, and nothing of a page's own goes along.
      redirect: 'manual',
      credentials: 'omit',
      cache: 'no-store',
      headers: {
        accept: accept ?? 'application/json',
        authorization: `Bearer ${this.#options.token}`,
        ...(type === null ? {} : { 'content-type': type }),
        ...headers,
      },
      ...(body === undefined ? {} : { body }),
    }
  }

  async #readJson(response: Response): Promise<unknown> {
    const text = await response.text()
    try {
      return this.#options.parseJson(text)
    } catch {
      const type = response.headers.get('content-type') ?? 'of no type'
      throw new ErgonApiError({
        status: response.status,
        code: NOT_A_PROBLEM,
        detail: `the answer is no JSON but ${type}: is ${this.#options.base} the address of an API of Ergon's?`,
        requestId: response.headers.get('x-request-id'),
        errors: [],
      })
    }
  }

  #toConnectionError({ method, path }: ApiRequest, cause: unknown): ErgonConnectionError {
    return new ErgonConnectionError(`${method} ${this.#options.base}${path}: ${explain(cause)}`, { cause })
  }
}

/** Node says "fetch failed", and why in the cause; of several addresses that were tried, in theirs. */
function explain(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  if (error instanceof AggregateError && error.errors.length > 0) return explain(error.errors[0])
  return error.cause === undefined || error.cause === null ? error.message : `${error.message}: ${explain(error.cause)}`
}
