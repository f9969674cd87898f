import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OUTPUT_START, type OutputChunk, type OutputReading } from '../../control/read-output.ts'
import { toOutputTexts } from './output-texts.ts'

function readingOf(chunks: OutputChunk[], isCut = false): OutputReading {
  const job = { attempts: 1, maxAttempts: 3, runAt: new Date(0), startedAt: null, completedAt: null, failureCode: null }
  return { status: 'running', job, chunks, position: OUTPUT_START, isCut }
}

const text = fc.string({ unit: fc.constantFrom('a', '\n', 'é', '€', '𝄞', '\u{10ffff}'), maxLength: 60 })

describe('texts of what was read', () => {
  it('hold whole characters, and together everything, wherever bytes are cut', () => {
    fc.assert(
      fc.property(text, text, fc.array(fc.nat(12), { minLength: 1 }), fc.nat(20), (stdout, stderr, sizes, partSize) => {
        const streams = { stdout: Buffer.from(stdout), stderr: Buffer.from(stderr) }
        const at = { stdout: 0, stderr: 0 }
        const got = { stdout: '', stderr: '' }
        let turn = 0
        for (let guard = 0; guard < 2_000; guard++) {
          // A reading: chunks of both streams in turn, behind what was told, of a few bytes in all.
          const chunks: OutputChunk[] = []
          const next = { ...at }
          // Room for a whole character of one of the streams.
          let room = partSize + 8
          for (let n = 0; n < 6 && room > 0; n++) {
            const stream = n % 2 === 0 ? 'stdout' : 'stderr'
            const size = Math.min(room, 2 + (sizes[turn++ % sizes.length] ?? 0))
            const bytes = streams[stream].subarray(next[stream], next[stream] + size)
            if (bytes.length === 0) continue
            chunks.push({ attempt: 1, stream, offset: next[stream], bytes })
            next[stream] += bytes.length
            room -= bytes.length
          }
          const isCut = next.stdout < streams.stdout.length || next.stderr < streams.stderr.length
          const texts = toOutputTexts(readingOf(chunks, true), true)
          for (const each of texts) {
            expect(each.offset).toBe(at[each.stream])
            expect(each.text).not.toContain('\ufffd')
            expect(each.end).toBe(each.offset + Buffer.byteLength(each.text))
            at[each.stream] = each.end
            got[each.stream] += each.text
          }
          if (!isCut && texts.length === 0) break
        }
        expect(got).toEqual({ stdout, stderr })
      }),
    )
  })

  it('leave the beginning of a character for later, unless nothing follows', () => {
    const euro = Buffer.from('a€').subarray(0, 3)
    const chunks: OutputChunk[] = [{ attempt: 1, stream: 'stdout', offset: 5, bytes: euro }]
    expect(toOutputTexts(readingOf(chunks), false)).toEqual([
      { stream: 'stdout', attempt: 1, offset: 5, text: 'a', end: 6 },
    ])
    const last = toOutputTexts(readingOf(chunks), true)
    expect(last.map(({ offset, end }) => [offset, end])).toEqual([
      [5, 6],
      [6, 8],
    ])
  })

  it('do not wait for ever behind bytes that are no character', () => {
    const bytes = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80])
    expect(toOutputTexts(readingOf([{ attempt: 1, stream: 'stderr', offset: 0, bytes }]), false)).toMatchObject([
      { end: 5 },
    ])
  })
})
