import { ErgonConnectionError } from './api-error.ts'
import type { Clock } from './clock.ts'
import { backoff } from './retry-policy.ts'
import { type SseMessage, SseParser } from './sse-parser.ts'
import type { ApiRequest, Transport } from './transport.ts'

/** A stream that says nothing for so long, not even that it lives, is taken for dead. */
const SILENCE_MS = 60_000
/** Connections one after another that gave not one byte. */
const MAX_EMPTY = 20
const NO_CONTENT = 204

export interface Following {
  /** Where to go on, empty for the beginning. */
  lastEventId: string
  isLast(message: SseMessage): boolean
}

/** Messages of an event stream, over any number of breaks, from where the last one ended: each once, none left out. */
export async function* followEvents(
  transport: Transport,
  clock: Clock,
  request: Omit<ApiRequest, 'method' | 'isRepeatable' | 'accept'>,
  { lastEventId, isLast }: Following,
): AsyncGenerator<SseMessage, void, undefined> {
  const { signal } = request
  let id = lastEventId
  let empty = 0
  for (let broken = 1; ; broken++) {
    const headers = id === '' ? {} : { 'last-event-id': id }
    const connection = await transport.send(
      { ...request, method: 'GET', accept: 'text/event-stream', isRepeatable: true, headers },
      ({ status, body }) => Promise.resolve({ status, body }),
    )
    // So event streams say that nothing follows.
    if (connection.status === NO_CONTENT) return
    const parser = new SseParser()
    let isHeard = false
    for await (const messages of readMessages(connection.body, parser)) {
      isHeard = true
      for (const message of messages) {
        broken = 0
        yield message
        if (isLast(message)) return
      }
    }
    if (parser.lastEventId !== '') id = parser.lastEventId
    signal?.throwIfAborted()
    empty = isHeard ? 0 : empty + 1
    if (empty >= MAX_EMPTY)
      throw new ErgonConnectionError(`${request.path}: the stream ended ${empty} times without a word`, { cause: null })
    await clock.sleep(backoff(broken, clock.random), signal)
  }
}

/** The messages of each piece, as they come; ends where the connection does, for whatever reason. */
async function* readMessages(
  body: ReadableStream<Uint8Array> | null,
  parser: SseParser,
): AsyncGenerator<SseMessage[], void, undefined> {
  if (body === null) return
  const reader = body.getReader()
  const decoder = new TextDecoder()
  try {
    for (;;) {
      const piece = await readInTime(reader)
      if (piece === null) return
      yield parser.push(decoder.decode(piece, { stream: true }))
    }
  } finally {
    // Tells the server that nobody listens any more.
    reader.cancel().catch(() => {})
  }
}

async function readInTime(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<Uint8Array | null> {
  let timer
  const silence = new Promise<null>((resolve) => (timer = setTimeout(() => resolve(null), SILENCE_MS)))
  try {
    const read = reader.read().then(
      ({ done, value }) => (done ? null : value),
      () => null,
    )
    return await Promise.race([read, silence])
  } finally {
    clearTimeout(timer)
  }
}
