import { setTimeout as sleep } from 'node:timers/promises'
import type { Failure } from '@ergon/contract'
import type { Spool } from '../../artifacts/spool.ts'
import type { RunnerOutcome } from '../runner.ts'
import { classifyError, isWorthRetrying, TOO_MANY_REDIRECTS } from './classify-error.ts'
import type { Deadline } from './deadline.ts'
import { DestinationDenied, requireAllowedUrl } from './destination.ts'
import type { HttpAnswer, HttpClient } from './http-client.ts'
import { describeBody, type DescribedBody } from './describe-body.ts'
import { receiveBody } from './receive-body.ts'
import { describeBrokenRedirect, followRedirect, type HttpRequest } from './redirect.ts'
import { innerRetryDelayMs } from './retry-schedule.ts'

const MAX_REDIRECTS = 10
/** Of an attempt: what redirects is asked again too, and each time may lead as far. */
const MAX_REDIRECTS_IN_ALL = 20
/** Of an answer that is not looked at: read, so that its connection can be used again, unless it is longer. */
const MAX_DUMPED_BYTES = 16_384

/** What came of a request: the last answer, or why there is none. */
export type ExchangeResult =
  | {
      kind: 'answer'
      request: HttpRequest
      statusCode: number
      headers: HttpAnswer['headers']
      body: DescribedBody
      /** Why the answer is none although it came: a redirect that leads nowhere. */
      broken: string | null
    }
  | { kind: 'failure'; failure: Failure }
  /** By our own clock, or because the job is not ours any more. */
  | { kind: 'ended' }

/** One job's request through redirects and retries, every hop judged before it is sent. */
export class Exchange {
  readonly logs: RunnerOutcome['logs'] = []
  requests = 0
  #redirects = 0
  sentBytes = 0
  receivedBytes = 0
  readonly #client: HttpClient
  readonly #deadline: Deadline
  readonly #spool: Spool
  #audited: Set<string> | null = null

  constructor(client: HttpClient, deadline: Deadline, spool: Spool) {
    this.#client = client
    this.#deadline = deadline
    this.#spool = spool
  }

  async run(first: HttpRequest): Promise<ExchangeResult> {
    for (let retriesDone = 0; ; retriesDone++) {
      const { result, retryAfter } = await this.#once(first)
      if (result.kind === 'ended' || !mayRepeat(result)) return result
      const delayMs = innerRetryDelayMs(
        {
          statusCode: result.kind === 'answer' ? result.statusCode : null,
          retryAfter,
          retriesDone,
          remainingMs: this.#deadline.remainingMs,
          nowMs: Date.now(),
          random: Math.random(),
        },
        this.#client.config.retries,
      )
      if (delayMs === null) return result
      const what = result.kind === 'answer' ? `status ${result.statusCode}` : result.failure.code
      this.logs.push({ level: 'info', message: `${what}: sent again after ${delayMs} ms` })
      await sleep(delayMs, undefined, { signal: this.#deadline.signal }).catch(() => {})
      if (this.#deadline.reason !== null) return { kind: 'ended' }
    }
  }

  /** The request and the redirects that it leads to. */
  async #once(first: HttpRequest): Promise<{ result: ExchangeResult; retryAfter: string | null }> {
    let request = first
    try {
      for (let redirects = 0; ; redirects++) {
        const answer = await this.#send(request)
        const next = followRedirect(request, answer.statusCode, oneOf(answer.headers['location']))
        if (next === null) return await this.#receive(request, answer)
        await answer.body.dump({ limit: MAX_DUMPED_BYTES, signal: this.#deadline.signal })
        if (redirects === MAX_REDIRECTS) return failed(tooManyRedirects(first, MAX_REDIRECTS))
        if (this.#redirects++ === MAX_REDIRECTS_IN_ALL) return failed(tooManyRedirects(first, MAX_REDIRECTS_IN_ALL))
        request = next
      }
    } catch (error) {
      if (this.#deadline.reason !== null) return { result: { kind: 'ended' }, retryAfter: null }
      const failure = classifyError(error, describe(request))
      if (failure === null) throw error
      if (error instanceof DestinationDenied)
        this.logs.push({ level: 'warn', message: `audit: ${error.code}: ${failure.message}` })
      return failed(failure)
    }
  }

  async #send(request: HttpRequest): Promise<HttpAnswer> {
    requireAllowedUrl(request.url, this.#client.config.policy)
    this.requests++
    this.sentBytes += request.body?.length ?? 0
    try {
      return await this.#client.send(request, this.#deadline.signal)
    } finally {
      this.#audit(request.url.origin)
    }
  }

  /** Whoever reads the job's logs sees each private place that a policy has opened and that was used. */
  #audit(origin: string): void {
    for (const address of this.#client.privateAddressesOf(origin)) {
      const message = `audit: ${origin} is at the private address ${address}, which the service's allowed_networks open`
      this.#audited ??= new Set()
      if (this.#audited.has(message)) continue
      this.#audited.add(message)
      this.logs.push({ level: 'info', message })
    }
  }

  async #receive(request: HttpRequest, { statusCode, headers, body }: HttpAnswer) {
    const length = oneOf(headers['content-length'])
    const received = await receiveBody(body, {
      maxBytes: this.#client.config.maxResponseBytes,
      contentEncoding: request.method === 'HEAD' ? null : oneOf(headers['content-encoding']),
      contentLength: request.method === 'HEAD' || length === null || !/^\d{1,15}$/.test(length) ? null : Number(length),
      spool: this.#spool,
    })
    this.receivedBytes += received.kind === 'file' ? received.file.sizeBytes : received.bytes.length
    const broken = describeBrokenRedirect(request.url, statusCode, oneOf(headers['location']))
    const described = await describeBody(received, oneOf(headers['content-type']), this.#spool)
    const result: ExchangeResult = { kind: 'answer', request, statusCode, headers, body: described, broken }
    return { result, retryAfter: oneOf(headers['retry-after']) }
  }
}

function mayRepeat(result: Exclude<ExchangeResult, { kind: 'ended' }>): boolean {
  return result.kind === 'answer' || isWorthRetrying(result.failure)
}

/** A request for people: without its query, which may hold anything. */
export function describe({ method, url }: HttpRequest): string {
  return `${method} ${url.origin}${url.pathname.slice(0, 500)}`
}

function oneOf(header: string | string[] | undefined): string | null {
  return (Array.isArray(header) ? header[0] : header) ?? null
}

function failed(failure: Failure): { result: ExchangeResult; retryAfter: null } {
  return { result: { kind: 'failure', failure }, retryAfter: null }
}

function tooManyRedirects(request: HttpRequest, limit: number): Failure {
  const span = limit === MAX_REDIRECTS ? '' : ', repetitions included'
  return {
    category: 'DEPENDENCY_ERROR',
    code: TOO_MANY_REDIRECTS,
    message: `${describe(request)} was redirected more than ${limit} times${span}.`,
    evidence: { counter: 'redirects', limit, observed: limit + 1 },
    details: null,
  }
}
