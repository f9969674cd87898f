import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OutputSanitiser } from './sanitise-output.ts'

function sanitise(...chunks: Uint8Array[]): string {
  const sanitiser = new OutputSanitiser()
  return chunks.map((chunk) => sanitiser.push(chunk)).join('') + sanitiser.end()
}

describe('OutputSanitiser', () => {
  it('keeps text, newlines and tabs', () => {
    expect(sanitise(Buffer.from('µ\tone\r\ntwo\n'))).toBe('µ\tone\r\ntwo\n')
  })

  it('makes terminal escapes and NUL visible', () => {
    expect(sanitise(Buffer.from('\u001b[31mred\u0000\u007f\u009b'))).toBe('␛[31mred␀␡\uFFFD')
  })

  it('does not care where the stream is cut', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(64), (bytes, at) => {
        expect(sanitise(bytes.subarray(0, at), bytes.subarray(at))).toBe(sanitise(bytes))
      }),
    )
  })

  it('always yields text that PostgreSQL can store', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const text = sanitise(bytes)
        expect(text.isWellFormed()).toBe(true)
        expect(text).not.toContain('\u0000')
      }),
    )
  })
})
