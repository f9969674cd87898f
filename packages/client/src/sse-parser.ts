/** One message of a stream of server-sent events. */
export interface SseMessage {
  /** `message` where the server gave no name. */
  event: string
  data: string
  /** The last id that came, with this message or before it; empty while there was none. */
  id: string
}

/** What one event may take; a server that sends more without an end is not believed. */
const MAX_EVENT_CHARACTERS = 32 * 1024 * 1024
const LINE_END = /\r\n|\r|\n/g

/** The event stream format of the HTML standard, fed with text in any pieces. */
export class SseParser {
  /** The beginning of a line, as it came: joined once, at its end. */
  #pieces: string[] = []
  #isAfterCr = false
  #event = ''
  #data: string[] = []
  #id = ''
  #lastEventId = ''
  #size = 0

  /** Where the stream is: also where an event of nothing but an id said so. Empty while nobody did. */
  get lastEventId(): string {
    return this.#lastEventId
  }

  /** The messages that are complete with this piece. Throws when an event has no end. */
  push(piece: string): SseMessage[] {
    // A CR that ended the last piece was a line's end; an LF after it belongs to it.
    const text = this.#isAfterCr && piece.startsWith('\n') ? piece.slice(1) : piece
    if (piece !== '') this.#isAfterCr = piece.endsWith('\r')
    const messages: SseMessage[] = []
    let from = 0
    for (const { index, 0: end } of text.matchAll(LINE_END)) {
      const line = this.#pieces.join('') + text.slice(from, index)
      this.#pieces = []
      from = index + end.length
      this.#take(line, messages)
    }
    this.#pieces.push(text.slice(from))
    this.#size += text.length
    if (this.#size > MAX_EVENT_CHARACTERS) throw new Error('an event of the stream has no end')
    return messages
  }

  #take(line: string, messages: SseMessage[]): void {
    if (line === '') return this.#dispatch(messages)
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    const value = colon === -1 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1)
    if (name === 'event') this.#event = value
    else if (name === 'data') this.#data.push(value)
    else if (name === 'id' && !value.includes('\0')) this.#id = value
  }

  #dispatch(messages: SseMessage[]): void {
    // Not before the event is whole: who goes on behind an id misses what belonged to it.
    this.#lastEventId = this.#id
    if (this.#data.length > 0)
      messages.push({ event: this.#event || 'message', data: this.#data.join('\n'), id: this.#id })
    this.#event = ''
    this.#data = []
    this.#size = 0
  }
}
