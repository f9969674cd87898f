import type {
  Artifact,
  Dataset,
  EnvironmentSummary,
  JobFeedFilter,
  JobFilter,
  JobLogs,
  JobPage,
  JobSummary,
  JobView,
  MAX_WAIT_SECONDS,
  ServiceDescription,
  ServiceSummary,
  SignedUrl,
  SubmitRequest,
} from '@ergon/contract'
import { type Clock, SYSTEM_CLOCK } from './clock.ts'
import { type FeedEvent, type JobEvent, toFeedEvent, toJobEvent } from './events.ts'
import { followEvents } from './follow-events.ts'
import type { RetryBounds } from './retry-policy.ts'
import { type ApiRequest, type Fetch, Transport } from './transport.ts'

export interface ErgonClientOptions {
  /** Where the API is, such as https://ergon.example.org, with or without a path before `/v1`. */
  url: string | URL
  /** What `ergon tokens create` printed. */
  token: string
  /** Instead of the global one. */
  fetch?: Fetch
  /** Instead of JSON.parse, for numbers that a double cannot hold, say. */
  parseJson?: (text: string) => unknown
  /** How long one answer may take, in ms; 30 000 by default. */
  timeoutMs?: number
  /** How often a request that failed in passing is tried again; 5 by default. */
  retries?: number
  /** How long `wait`, `stream` and `events` go on while the API is away, in ms; 120 000 by default. */
  patienceMs?: number
}

export interface CallOptions {
  /** Ends the call, which then throws the signal's reason. */
  signal?: AbortSignal | undefined
}

export interface SubmitOptions extends CallOptions {
  /** Of the caller's own, so that another process can repeat the call; kept for 24 hours. By default a random one. */
  idempotencyKey?: string
}

export interface SubmitOneOptions extends SubmitOptions {
  /** Seconds to wait for the job's end, at most 50; the answer is the job as it is then. */
  waitSeconds?: number
}

export interface StreamOptions extends CallOptions {
  /** The id of the last event that is known already. */
  lastEventId?: string
}

/** The longest that the API holds a question. */
const LONGEST_WAIT: typeof MAX_WAIT_SECONDS = 50
/** A server that answers at once, although it was asked to wait, is not asked more often than this. */
const SHORTEST_ROUND_MS = 500
const UPLOAD_TIMEOUT_MS = 3_600_000
const ENDED: readonly string[] = ['completed', 'failed', 'cancelled'] satisfies JobView['state'][]

/** Ergon's API. Each call throws ErgonApiError where it is refused and ErgonConnectionError where nobody answers. */
export class ErgonClient {
  readonly #transport: Transport
  readonly #clock: Clock
  readonly #timeoutMs: number
  readonly #bounds: RetryBounds
  readonly #longBounds: RetryBounds
  readonly #base: string

  constructor(options: ErgonClientOptions, clock: Clock = SYSTEM_CLOCK) {
    const { url, token, timeoutMs = 30_000, retries = 5, patienceMs = 120_000 } = options
    // A header cannot hold it, and whoever says so shows it.
    if (!/^[\x21-\x7e]+$/.test(token))
      throw new TypeError('token: expected what `ergon tokens create` printed (it is not shown here)')
    this.#clock = clock
    this.#timeoutMs = timeoutMs
    this.#bounds = { retries, patienceMs }
    this.#longBounds = { retries: Infinity, patienceMs }
    this.#base = baseOf(url)
    this.#transport = new Transport(
      {
        base: this.#base,
        token,
        // Called as a function of its own: a browser's fetch refuses another `this`.
        fetch: options.fetch ?? ((input, init) => fetch(input, init)),
        parseJson: options.parseJson ?? ((text) => JSON.parse(text) as unknown),
      },
      clock,
    )
  }

  /** Submits a payload of the job contract, or a call of a service's operation; gives the job as it is then. */
  async submit(job: SubmitRequest, { waitSeconds, ...options }: SubmitOneOptions = {}): Promise<JobView> {
    const request: ApiRequest = { ...this.#request('/v1/jobs', options.signal), method: 'POST', json: job }
    return (await this.#transport.json({
      ...request,
      headers: keyOf(options),
      query: { wait: waitSeconds },
      timeoutMs: this.#timeoutMs + (waitSeconds ?? 0) * 1_000,
    })) as JobView
  }

  /** Submits all of the jobs or none; gives them in their order. */
  async submitBatch(jobs: readonly SubmitRequest[], options: SubmitOptions = {}): Promise<JobSummary[]> {
    return itemsOf(await this.#post('/v1/jobs/batch', { jobs }, options, keyOf(options)))
  }

  async get(jobId: string, { signal }: CallOptions = {}): Promise<JobView> {
    return (await this.#get(jobPath(jobId), {}, signal)) as JobView
  }

  /** The job at its end, however long that takes: also over restarts of the API. */
  async wait(jobId: string, { signal }: CallOptions = {}): Promise<JobView> {
    for (;;) {
      const askedAt = this.#clock.now()
      const job = (await this.#transport.json({
        ...this.#request(jobPath(jobId), signal),
        query: { wait: LONGEST_WAIT },
        timeoutMs: this.#timeoutMs + LONGEST_WAIT * 1_000,
        bounds: this.#longBounds,
      })) as JobView
      if (ENDED.includes(job.state)) return job
      const early = SHORTEST_ROUND_MS - (this.#clock.now() - askedAt)
      if (early > 0) await this.#clock.sleep(early, signal)
    }
  }

  /** Jobs from the newest to the oldest, as many as are asked for: pages come as they are needed. */
  async *list(
    filter: JobFilter = {},
    { signal, pageSize = 100 }: CallOptions & { pageSize?: number } = {},
  ): AsyncGenerator<JobSummary, void, undefined> {
    let cursor: string | undefined
    do {
      const page = await this.page(filter, { signal, limit: pageSize, ...(cursor === undefined ? {} : { cursor }) })
      yield* page.items
      cursor = page.next_cursor ?? undefined
    } while (cursor !== undefined)
  }

  /** One page of jobs, and where the next one begins. */
  async page(
    filter: JobFilter = {},
    { signal, limit, cursor }: CallOptions & { limit?: number; cursor?: string } = {},
  ): Promise<JobPage> {
    return (await this.#get('/v1/jobs', { ...filter, limit, cursor }, signal)) as JobPage
  }

  /** Cancels a job that has not ended; of one that was cancelled before, it changes nothing. */
  async cancel(jobId: string, options: CallOptions = {}): Promise<JobView> {
    return (await this.#post(`${jobPath(jobId)}/cancel`, undefined, options)) as JobView
  }

  /** Queues a failed job again. Where no answer comes it is not asked twice: the job might run twice. */
  async retry(jobId: string, { signal }: CallOptions = {}): Promise<JobView> {
    const request = this.#request(`${jobPath(jobId)}/retry`, signal)
    return (await this.#transport.json({ ...request, method: 'POST', isRepeatable: false })) as JobView
  }

  /** A piece of what the job's newest attempt wrote, from the given bytes on. */
  async logs(
    jobId: string,
    { signal, ...from }: CallOptions & { attempt?: number; stdoutOffset?: number; stderrOffset?: number } = {},
  ): Promise<JobLogs> {
    const query = { attempt: from.attempt, stdout_offset: from.stdoutOffset, stderr_offset: from.stderrOffset }
    return (await this.#get(`${jobPath(jobId)}/logs`, query, signal)) as JobLogs
  }

  /** What happens to a job, as it happens, to its end. Breaks of the connection are not seen: nothing is lost or repeated. */
  async *stream(
    jobId: string,
    { signal, lastEventId = '' }: StreamOptions = {},
  ): AsyncGenerator<JobEvent, void, undefined> {
    const request = { ...this.#request(`${jobPath(jobId)}/events`, signal), bounds: this.#longBounds }
    const isLast = ({ event }: { event: string }) => event === 'end'
    for await (const message of followEvents(this.#transport, this.#clock, request, { lastEventId, isLast })) {
      const event = toJobEvent(message, (text) => this.#transport.parseJson(text))
      if (event !== null) yield event
    }
  }

  /** The end of every attempt that the filter lets through, each once, from now on until the signal ends it. */
  async *events(
    filter: JobFeedFilter = {},
    { signal, lastEventId = '' }: StreamOptions = {},
  ): AsyncGenerator<FeedEvent, void, undefined> {
    const request = { ...this.#request('/v1/events', signal), query: filter, bounds: this.#longBounds }
    const following = { lastEventId, isLast: () => false }
    for await (const message of followEvents(this.#transport, this.#clock, request, following)) {
      const event = toFeedEvent(message, (text) => this.#transport.parseJson(text))
      if (event !== null) yield event
    }
  }

  async artifacts(jobId: string, { signal }: CallOptions = {}): Promise<Artifact[]> {
    return itemsOf(await this.#get(`${jobPath(jobId)}/artifacts`, {}, signal))
  }

  async artifact(artifactId: string, { signal }: CallOptions = {}): Promise<Artifact> {
    return (await this.#get(artifactPath(artifactId), {}, signal)) as Artifact
  }

  /** The bytes of an artifact. */
  download(artifactId: string, { signal }: CallOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const request = { ...this.#request(`${artifactPath(artifactId)}/content`, signal), accept: '*/*' }
    return this.#transport.send({ ...request, timeoutMs: UPLOAD_TIMEOUT_MS }, async (response) => {
      return new Uint8Array(await response.arrayBuffer())
    })
  }

  /** The same as they come, for artifacts that do not fit into memory. A break is an error of the stream. */
  openArtifact(artifactId: string, { signal }: CallOptions = {}): Promise<ReadableStream<Uint8Array<ArrayBuffer>>> {
    const request = { ...this.#request(`${artifactPath(artifactId)}/content`, signal), accept: '*/*' }
    return this.#transport.send(request, ({ body }) => Promise.resolve(body ?? new Blob([]).stream()))
  }

  /** An address that gives the bytes without a token until it expires: for an `img` of a web page, say. */
  async signedUrl(
    artifactId: string,
    { expiresInSeconds, ...options }: CallOptions & { expiresInSeconds?: number } = {},
  ): Promise<SignedUrl> {
    const asked = expiresInSeconds === undefined ? {} : { expires_in_seconds: expiresInSeconds }
    const signed = (await this.#post(`${artifactPath(artifactId)}/signed-url`, asked, options)) as SignedUrl
    return { ...signed, url: resolveUrl(this.#base, signed.url) }
  }

  /** Stores a file that payloads name by the digest this gives. */
  async uploadDataset(
    name: string,
    content: Blob | Uint8Array<ArrayBuffer> | ArrayBuffer | string,
    { signal }: CallOptions = {},
  ): Promise<Dataset> {
    const bytes = typeof content === 'string' ? new Blob([content]) : content
    const request = { ...this.#request('/v1/datasets', signal), query: { name }, timeoutMs: UPLOAD_TIMEOUT_MS }
    return (await this.#transport.json({ ...request, method: 'PUT', bytes })) as Dataset
  }

  async services({ signal }: CallOptions = {}): Promise<ServiceSummary[]> {
    return itemsOf(await this.#get('/v1/services', {}, signal))
  }

  async service(name: string, { signal }: CallOptions = {}): Promise<ServiceDescription> {
    return (await this.#get(`/v1/services/${encodeURIComponent(name)}`, {}, signal)) as ServiceDescription
  }

  async environments({ signal }: CallOptions = {}): Promise<EnvironmentSummary[]> {
    return itemsOf(await this.#get('/v1/environments', {}, signal))
  }

  #get(path: string, query: NonNullable<ApiRequest['query']>, signal: AbortSignal | undefined): Promise<unknown> {
    return this.#transport.json({ ...this.#request(path, signal), query })
  }

  #post(path: string, json: unknown, { signal }: CallOptions, headers: Record<string, string> = {}): Promise<unknown> {
    return this.#transport.json({ ...this.#request(path, signal), method: 'POST', json, headers })
  }

  #request(path: string, signal: AbortSignal | undefined): ApiRequest {
    return { method: 'GET', path, isRepeatable: true, bounds: this.#bounds, timeoutMs: this.#timeoutMs, signal }
  }
}

function baseOf(url: string | URL): string {
  const { origin, pathname } = new URL(url)
  return origin + pathname.replace(/\/+$/, '')
}

/** What the API names relative to itself, which a proxy may have put below a path. */
function resolveUrl(base: string, url: string): string {
  return url.startsWith('/') ? base + url : new URL(url, `${base}/`).href
}

function jobPath(id: string): string {
  return `/v1/jobs/${encodeURIComponent(id)}`
}

function artifactPath(id: string): string {
  return `/v1/artifacts/${encodeURIComponent(id)}`
}

function itemsOf<T>(answer: unknown): T[] {
  return (answer as { items: T[] }).items
}

function keyOf({ idempotencyKey }: SubmitOptions): Record<string, string> {
  return { 'idempotency-key': idempotencyKey ?? randomKey() }
}

/** Not crypto.randomUUID, which pages without TLS do not have. */
function randomKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
