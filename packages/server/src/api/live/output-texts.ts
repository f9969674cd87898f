import type { OutputChunk, OutputReading, OutputStream } from '../../control/read-output.ts'

export interface OutputText {
  stream: OutputStream
  attempt: number
  offset: number
  text: string
  /** Where the next text of the stream begins. */
  end: number
}

/**
 * What was read as texts of whole characters, neighbours of one stream joined. The beginning of a character whose rest is
 * not there yet is left for the next reading, unless the job has ended and nothing follows.
 */
export function toOutputTexts({ chunks, isCut }: OutputReading, hasEnded: boolean): OutputText[] {
  const texts: OutputText[] = []
  const left: Partial<Record<OutputStream, OutputChunk>> = {}
  for (const run of joinNeighbours(chunks)) {
    const { stream, attempt } = run
    const before = left[stream]
    const bytes = before === undefined ? run.bytes : Buffer.concat([before.bytes, run.bytes])
    const offset = before?.offset ?? run.offset
    const length = completeLength(bytes)
    left[stream] = { stream, attempt, offset: offset + length, bytes: bytes.subarray(length) }
    if (length > 0)
      texts.push({ stream, attempt, offset, text: bytes.toString('utf8', 0, length), end: offset + length })
  }
  if (hasEnded && !isCut) {
    for (const { stream, attempt, offset, bytes } of Object.values(left))
      if (bytes.length > 0)
        texts.push({ stream, attempt, offset, text: bytes.toString('utf8'), end: offset + bytes.length })
  }
  return texts
}

function joinNeighbours(chunks: readonly OutputChunk[]): OutputChunk[] {
  const runs: OutputChunk[][] = []
  for (const chunk of chunks) {
    const run = runs.at(-1)
    if (run?.[0]?.stream === chunk.stream) run.push(chunk)
    else runs.push([chunk])
  }
  return runs.flatMap((run) => {
    const [first] = run
    return first === undefined ? [] : [{ ...first, bytes: Buffer.concat(run.map(({ bytes }) => bytes)) }]
  })
}

/** How many bytes there are before a character that only begins. */
function completeLength(bytes: Buffer): number {
  const { length } = bytes
  for (let back = 1; back <= Math.min(4, length); back++) {
    const byte = bytes[length - back] ?? 0
    if (byte < 0x80) return length
    // A byte that begins a character of two, three or four.
    if (byte >= 0xc0) return back < (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) ? length - back : length
  }
  return length
}
