import { ErgonClient, type ErgonClientOptions } from './client.ts'

export interface SentRequest {
  method: string
  url: string
  headers: Headers
  body: string | null
  signal: AbortSignal
}
type Answer = Response | Error | ((request: SentRequest) => Response | Promise<Response>)

/** A client over a list of answers: each request gets the next one, and what it slept is written down instead of slept. */
export function scriptedClient(answers: Answer[], options: Partial<ErgonClientOptions> = {}) {
  const sent: SentRequest[] = []
  const sleeps: number[] = []
  let now = Date.parse('2026-11-22T12:00:00Z')
  const fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const request = {
      method: init.method ?? 'GET',
      url,
      headers: new Headers(init.headers),
      body: typeof init.body === 'string' ? init.body : null,
      signal: init.signal ?? new AbortController().signal,
    }
    sent.push(request)
    const answer = answers.shift()
    if (answer === undefined) throw new Error(`nothing was prepared for ${request.method} ${url}`)
    if (answer instanceof Error) throw answer
    return typeof answer === 'function' ? answer(request) : answer
  }
  const clock = {
    now: () => now,
    random: () => 0.5,
    sleep: (ms: number, signal: AbortSignal | undefined) => {
      signal?.throwIfAborted()
      sleeps.push(ms)
      now += ms
      return Promise.resolve()
    },
  }
  const client = new ErgonClient({ url: 'https://api.test/ergon/', token: 'ergon_secret', fetch, ...options }, clock)
  return { client, sent, sleeps, left: answers }
}

export const json = (value: unknown, status = 200, headers: Record<string, string> = {}) =>
  new Response(JSON.stringify(value), { status, headers: { 'content-type': 'application/json', ...headers } })

export const problem = (status: number, code: string, headers: Record<string, string> = {}) =>
  json(
    { type: `urn:ergon:error:${code}`, title: code, status, detail: `about ${code}`, code, request_id: 'r-1' },
    status,
    {
      'content-type': 'application/problem+json',
      ...headers,
    },
  )

/** A stream of these pieces, which then ends, or breaks. */
export const events = (pieces: string[], end: 'closed' | 'broken' = 'closed') =>
  new Response(
    new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece))
        if (end === 'closed') controller.close()
      },
      pull(controller) {
        if (end === 'broken') controller.error(new TypeError('terminated'))
      },
    }),
    { headers: { 'content-type': 'text/event-stream' } },
  )

export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const value of values) all.push(value)
  return all
}
