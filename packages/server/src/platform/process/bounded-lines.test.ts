import { PassThrough } from 'node:stream'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { onBoundedLines } from './bounded-lines.ts'

function linesOf(chunks: readonly string[], maxBytes: number): string[] {
  const stream = new PassThrough()
  const lines: string[] = []
  onBoundedLines(stream, maxBytes, (line) => lines.push(line))
  for (const chunk of chunks) stream.emit('data', Buffer.from(chunk))
  return lines
}

it('gives whole lines however they are cut', () => {
  const chunks = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '\n') }))
  fc.assert(
    fc.property(chunks, (parts) => {
      expect(linesOf(parts, 1_000)).toEqual(parts.join('').split('\n').slice(0, -1))
    }),
  )
})

it('passes over a line that is too long, and goes on behind it', () => {
  expect(linesOf(['abcd\nabc', 'de\n', 'ab\n', 'abcdefgh', 'x', '\nend\n'], 4)).toEqual(['abcd', 'ab', 'end'])
})
