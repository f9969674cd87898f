import type { Readable } from 'node:stream'

const NEWLINE = 10

/**
 * Gives each line of a stream, without its end. A line longer than the bound is passed over, and holds no more memory
 * than that: the other side may be anybody by now.
 */
export function onBoundedLines(stream: Readable, maxBytes: number, onLine: (line: string) => void): void {
  let parts: Buffer[] = []
  let length = 0
  const add = (part: Buffer): void => {
    length += part.length
    if (length <= maxBytes) parts.push(part)
    else parts = []
  }
  stream.on('data', (chunk: Buffer) => {
    let from = 0
    for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
      add(chunk.subarray(from, end))
      const isWhole = length <= maxBytes
      const line = Buffer.concat(parts).toString('utf8')
      parts = []
      length = 0
      from = end + 1
      if (isWhole) onLine(line)
    }
    // A copy, since a slice would keep its whole chunk.
    add(Buffer.from(chunk.subarray(from)))
  })
}
