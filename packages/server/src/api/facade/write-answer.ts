import { Readable } from 'node:stream'
import type { Answer, ShownArtifact } from './compose-answer.ts'

type OpenArtifact = (digest: string) => Promise<Readable>

/**
 * The answer as JSON text, a piece at a time: twenty files of 8 MiB are 220 MB of it, of which one piece is in memory.
 * Throws what `open` throws before the first piece; what goes wrong later ends the stream with an error.
 */
export async function writeAnswer({ body, artifacts }: Answer, open: OpenArtifact): Promise<Readable | string> {
  if (artifacts.length === 0) return JSON.stringify({ ...body, artifacts: [] })
  const opened: { artifact: ShownArtifact; bytes: Readable | null }[] = []
  try {
    for (const artifact of artifacts) {
      const bytes = artifact.inlineDigest === null ? null : await open(artifact.inlineDigest)
      // Bytes that are not their digest's are told when they are read: before that nobody would hear it.
      bytes?.on('error', () => {})
      opened.push({ artifact, bytes })
    }
  } catch (error) {
    for (const { bytes } of opened) bytes?.destroy()
    throw error
  }
  const stream = Readable.from(pieces(body, opened), { objectMode: false })
  // Who goes away before the end leaves no file open.
  stream.once('close', () => {
    for (const { bytes } of opened) bytes?.destroy()
  })
  return stream
}

async function* pieces(
  body: Answer['body'],
  opened: readonly { artifact: ShownArtifact; bytes: Readable | null }[],
): AsyncGenerator<string> {
  yield `${JSON.stringify(body).slice(0, -1)},"artifacts":[`
  for (const [index, { artifact, bytes }] of opened.entries()) {
    yield `${index === 0 ? '' : ','}${JSON.stringify(artifact.shown).slice(0, -1)},"dataUrl":`
    if (bytes === null) yield 'null}'
    else {
      yield `"data:${artifact.shown.mimeType};base64,`
      yield* base64(bytes)
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
