import { type IncomingMessage, request } from 'node:http'

export interface ReadEvent {
  type: string
  id: string
  data: unknown
}

/** A client of server-sent events on a socket of its own, as the standard has it read them. */
export class EventReader {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly events: ReadEvent[] = []
  /** Lines that begin with a colon. */
  comments = 0
  retryMs: number | null = null
  /** What a client sends when it comes back. */
  lastId = ''
  isOver = false
  /** The whole of an answer that is no stream. */
  body = ''
  readonly #answer: IncomingMessage
  #changed: (() => void)[] = []

  constructor(answer: IncomingMessage) {
    this.#answer = answer
    this.status = answer.statusCode ?? 0
    this.headers = answer.headers
    let text = ''
    answer.setEncoding('utf8')
    answer.on('data', (part: string) => {
      if (answer.headers['content-type'] !== 'text/event-stream') this.body += part
      else {
        text += part
        const blocks = text.split('\n\n')
        text = blocks.pop() ?? ''
        for (const block of blocks) this.#read(block)
      }
      this.#tell()
    })
    const end = () => {
      this.isOver = true
      this.#tell()
    }
    answer.on('close', end)
    answer.on('error', end)
  }

  static open(url: string, token: string, lastId = ''): Promise<EventReader> {
    return new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}`, ...(lastId === '' ? {} : { 'last-event-id': lastId }) }
      request(url, { headers, agent: false }, (answer) => resolve(new EventReader(answer)))
        .on('error', reject)
        .end()
    })
  }

  /** Resolves when the claim holds; rejects when the stream is over before, or after `withinMs`. */
  async until(holds: (reader: this) => boolean, withinMs = 20_000): Promise<void> {
    const until = performance.now() + withinMs
    while (!holds(this)) {
      const left = until - performance.now()
      if (this.isOver || left <= 0)
        throw new Error(
          `${this.isOver ? 'the stream is over' : 'nothing more came'} after ${JSON.stringify(this.events)}${this.body}`,
        )
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#changed.push(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
  }

  /** Resolves when the other side has ended the stream. */
  async untilOver(withinMs = 20_000): Promise<this> {
    if (!this.isOver) await this.until(({ isOver }) => isOver, withinMs)
    return this
  }

  ofType(type: string): ReadEvent[] {
    return this.events.filter((event) => event.type === type)
  }

  pause(): void {
    this.#answer.pause()
  }

  close(): void {
    this.#answer.destroy()
  }

  #read(block: string): void {
    const event = { type: 'message', id: this.lastId, data: '' }
    for (const line of block.split('\n')) {
      const [, field = '', value = ''] = /^([^:]*):? ?(.*)$/s.exec(line) ?? []
      if (field === '') this.comments++
      if (field === 'event') event.type = value
      if (field === 'id') event.id = value
      if (field === 'retry') this.retryMs = Number(value)
      if (field === 'data') event.data += value
    }
    this.lastId = event.id
    if (event.data !== '') this.events.push({ ...event, data: JSON.parse(event.data) })
  }

  #tell(): void {
    for (const resolve of this.#changed.splice(0)) resolve()
  }
}
