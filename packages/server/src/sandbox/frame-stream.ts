import { once } from 'node:events'
import type { Socket } from 'node:net'

/** Longest line of a message and longest raw payload behind one, both set by sandboxd/PROTOCOL.md. */
const MAX_LINE_BYTES = 65_536
export const MAX_PAYLOAD_BYTES = 262_144

/** One message of the sandboxd protocol: a JSON object and, where it has a key `bytes`, so many raw bytes. */
export interface Frame {
  message: Record<string, unknown>
  payload: Buffer
}

/** Reads frames from a socket one at a time; ends when the peer closes, throws on anything that is not the protocol. */
export async function* readFrames(socket: Socket): AsyncGenerator<Frame> {
  let buffered: Buffer = Buffer.alloc(0)
  const chunks: AsyncIterator<Buffer> = socket[Symbol.asyncIterator]()
  /** Waits until so many bytes are here, and joins them once: a copy for each chunk of a large payload would cost several times its size. */
  const gather = async (length: number): Promise<boolean> => {
    const parts = buffered.length === 0 ? [] : [buffered]
    let have = buffered.length
    while (have < length) {
      const next = await chunks.next()
      if (next.done) return false
      parts.push(next.value)
      have += next.value.length
    }
    const [only] = parts
    buffered = parts.length === 1 && only !== undefined ? only : Buffer.concat(parts, have)
    return true
  }
  for (;;) {
    let end = buffered.indexOf(0x0a)
    while (end < 0) {
      if (buffered.length > MAX_LINE_BYTES) throw new Error('sandboxd sent a line longer than the protocol allows')
      if (!(await gather(buffered.length + 1))) return
      end = buffered.indexOf(0x0a)
    }
    const message: unknown = JSON.parse(buffered.toString('utf8', 0, end))
    if (typeof message !== 'object' || message === null) throw new Error('sandboxd sent a line that is not an object')
    const record = message as Record<string, unknown>
    const size = record.bytes === undefined ? 0 : Number(record.bytes)
    if (!(size >= 0 && size <= MAX_PAYLOAD_BYTES)) throw new Error(`sandboxd announced ${size} bytes`)
    buffered = buffered.subarray(end + 1)
    if (!(await gather(size))) throw new Error('sandboxd closed in the middle of a message')
    yield { message: record, payload: buffered.subarray(0, size) }
    buffered = buffered.subarray(size)
  }
}

/** Sends one frame and waits while the socket is full, so that a slow peer holds no memory here. */
export async function writeFrame(socket: Socket, message: Record<string, unknown>, payload?: Buffer): Promise<void> {
  const line = JSON.stringify(payload === undefined ? message : { ...message, bytes: payload.length })
  if (payload !== undefined) socket.write(`${line}\n`)
  const flushed = payload === undefined ? socket.write(`${line}\n`) : socket.write(payload)
  if (!flushed && !socket.destroyed) await Promise.race([once(socket, 'drain'), once(socket, 'close')])
}
