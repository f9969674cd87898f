import { Readable } from 'node:stream'
import type { Answer, ShownArtifact } from './compose-answer.ts'

type OpenArtifact = (digest: string) => Promise<Readable>

/**
 * The answer as JSON text, a piece at a time: twenty files of 8 MiB are 220 MB of it, of which one piece is in memory and
 * one file open, however slowly it is read. Throws what `open` throws of the first file; what goes wrong later ends the
 * stream with an error.
 */
export async function writeAnswer({ body, artifacts }: Answer, open: OpenArtifact): Promise<Readable | string> {
  if (artifacts.length === 0) return JSON.stringify({ ...body, artifacts: [] })
  let current: Readable | null = null
  let isClosed = false
  const openNext = async (digest: string) => {
    current = await open(digest)
    // Bytes that are not their digest's are told when they are read: before that nobody would hear it.
    current.on('error', () => {})
    if (isClosed) current.destroy()
    return current
  }
  const first = artifacts.find(({ inlineDigest }) => inlineDigest !== null)?.inlineDigest ?? null
  const opened = first === null ? [] : [await openNext(first)]
  const take = async (digest: string) => opened.shift() ?? openNext(digest)
  const stream = Readable.from(pieces(body, artifacts, take), { objectMode: false })
  // Who goes away before the end leaves no file open.
  stream.once('close', () => {
    isClosed = true
    current?.destroy()
  })
  return stream
}

async function* pieces(
  body: Answer['body'],
  artifacts: readonly ShownArtifact[],
  take: OpenArtifact,
): AsyncGenerator<string> {
  yield `${JSON.stringify(body).slice(0, -1)},"artifacts":[`
  for (const [index, { shown, inlineDigest }] of artifacts.entries()) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(shown).slice(0, -1)},"dataUrl":`
    if (inlineDigest === null) yield 'null}'
    else {
      yield `"data:${shown.mimeType};base64,`
      yield* base64(await take(inlineDigest))
      yield '"}'
    }
  }
  yield ']}'
}

/** Three bytes are four characters, so what is left of a piece goes to the next. */
async function* base64(bytes: Readable): AsyncGenerator<string> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of bytes as AsyncIterable<Buffer>) {
    const all = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    const whole = all.length - (all.length % 3)
    rest = all.subarray(whole)
    yield all.toString('base64', 0, whole)
  }
  yield rest.toString('base64')
}
