import { pipeline, type Readable, Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate } from 'node:zlib'
import type { Spool, SpooledFile } from '../../artifacts/spool.ts'
import { SNIFF_BYTES } from '../../sandbox/sniff.ts'

/** More of a body than this leaves the job as a file. */
const INLINE_BYTES = 262_144

export class ResponseTooLarge extends Error {
  readonly limit: number
  readonly observed: number

  constructor(limit: number, observed: number) {
    super(`more than ${limit} bytes`)
    this.limit = limit
    this.observed = observed
  }
}

/** A body as it arrived: in memory while it is small, else in the attempt's spool. */
export type ReceivedBody = { kind: 'memory'; bytes: Buffer } | { kind: 'file'; file: SpooledFile }

export interface ReceiveOptions {
  /** Of the body as it comes over the line, and as it is once decoded. */
  maxBytes: number
  contentEncoding: string | null
  contentLength: number | null
  spool: Spool
}

const DECODERS: Readonly<Record<string, () => Transform>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
}

/** Reads a body to its end and no further than its limit; throws ResponseTooLarge, and the body is gone whatever happens. */
export async function receiveBody(body: Readable, options: ReceiveOptions): Promise<ReceivedBody> {
  const { maxBytes, contentLength, spool } = options
  const encoded = new ByteLimit(maxBytes)
  try {
    // What a server announces is enough to refuse it, never to trust it.
    if (contentLength !== null && contentLength > maxBytes) throw new ResponseTooLarge(maxBytes, contentLength)
    return await receive(decode(body, encoded, options), maxBytes, spool)
  } catch (error) {
    // Answers without a body (204, 304) say how it would have been encoded, and an empty one is no broken one.
    if (error instanceof Error && 'code' in error && error.code === 'Z_BUF_ERROR' && encoded.size === 0)
      return { kind: 'memory', bytes: Buffer.alloc(0) }
    throw error
  } finally {
    body.destroy()
  }
}

async function receive(chunks: Readable, maxBytes: number, spool: Spool): Promise<ReceivedBody> {
  const { held, size, isAll } = await hold(chunks, maxBytes)
  if (isAll) return { kind: 'memory', bytes: held.length === 1 ? (held[0] ?? Buffer.alloc(0)) : Buffer.concat(held) }
  return { kind: 'file', file: await receiveFile(chunks, { held, size, maxBytes }, spool) }
}

interface Held {
  held: Buffer[]
  size: number
  /** False when more comes than is held in memory; the stream is paused then. */
  isAll: boolean
}

/** By events: for the one chunk that most bodies are, an iterator costs as much as the rest of the request. */
function hold(chunks: Readable, maxBytes: number): Promise<Held> {
  return new Promise((resolve, reject) => {
    const held: Buffer[] = []
    let size = 0
    const done = (settle: () => void) => {
      chunks.off('data', take).off('end', finish).off('close', breakOff)
      settle()
    }
    const fail = (error: Error) => done(() => reject(error))
    const finish = () => done(() => resolve({ held, size, isAll: true }))
    const breakOff = () => fail(Object.assign(new Error('it broke off'), { code: 'ERR_STREAM_PREMATURE_CLOSE' }))
    const take = (chunk: Buffer) => {
      size += chunk.length
      if (size > maxBytes) return fail(new ResponseTooLarge(maxBytes, size))
      held.push(chunk)
      if (size <= INLINE_BYTES) return
      chunks.pause()
      done(() => resolve({ held, size, isAll: false }))
    }
    // It stays: what a stream says once nobody waits for it any more must not end the process.
    chunks.on('error', fail)
    chunks.on('data', take).on('end', finish).on('close', breakOff)
  })
}

async function receiveFile(
  chunks: Readable,
  begun: { held: readonly Buffer[]; size: number; maxBytes: number },
  spool: Spool,
): Promise<SpooledFile> {
  const writer = await spool.create(SNIFF_BYTES)
  let { size } = begun
  try {
    for (const chunk of begun.held) await writer.write(chunk)
    for await (const chunk of chunks as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > begun.maxBytes) throw new ResponseTooLarge(begun.maxBytes, size)
      await writer.write(chunk)
    }
    return await writer.finish()
  } catch (error) {
    await writer.abandon()
    throw error
  }
}

/** An encoding that is not known, or two of them, stays as it is: bytes. */
function decode(body: Readable, encoded: ByteLimit, { contentEncoding }: ReceiveOptions): Readable {
  const create = DECODERS[contentEncoding?.trim().toLowerCase() ?? '']
  if (create === undefined) return body
  const decoder = create()
  // Errors of any of them end all, and come out where the decoded bytes do.
  pipeline(body, encoded, decoder, () => {})
  return decoder
}

/** Encoded bytes count too: an endless stream may decode to nothing. */
class ByteLimit extends Transform {
  size = 0

  constructor(maxBytes: number) {
    super({
      transform: (chunk: Buffer, _encoding, done) => {
        this.size += chunk.length
        if (this.size > maxBytes) done(new ResponseTooLarge(maxBytes, this.size))
        else done(null, chunk)
      },
    })
  }
}

/** Puts a small body into the spool after all: one that is no text. */
export async function spoolBody(bytes: Buffer, spool: Spool): Promise<SpooledFile> {
  const writer = await spool.create(SNIFF_BYTES)
  await writer.write(bytes)
  return writer.finish()
}
