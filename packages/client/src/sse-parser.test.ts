import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { SseParser } from './sse-parser.ts'

const parse = (...pieces: string[]) => {
  const parser = new SseParser()
  return pieces.flatMap((piece) => parser.push(piece))
}
const data = (...pieces: string[]) => parse(...pieces).map((message) => message.data)

describe('the event stream format', () => {
  test('names, data and ids', () => {
    expect(parse('event: status\nid: 7\ndata: {"a":1}\n\n')).toEqual([{ event: 'status', id: '7', data: '{"a":1}' }])
  })

  test.each([
    ['several lines are one text', 'data: a\ndata: b\n\n', ['a\nb']],
    ['only the first space belongs to the format', 'data:  a\n\ndata:b\n\n', [' a', 'b']],
    ['CR LF and CR end lines too', 'data: a\r\n\r\ndata: b\r\rdata: c\n\n', ['a', 'b', 'c']],
    ['comments and unknown fields are nothing', ': ping\n\nretry: 10\nx: y\ndata: a\n\n', ['a']],
    ['a field without a colon is empty', 'data\n\n', ['']],
    ['what is not ended is not told', 'data: a\n\ndata: b\n', ['a']],
    ['an event without data is none', 'event: x\nid: 1\n\ndata: a\n\n', ['a']],
  ])('%s', (_what, text, expected) => {
    expect(data(text)).toEqual(expected)
  })

  test('an id holds for later events, and one with NUL is none', () => {
    expect(parse('id: 1\ndata: a\n\ndata: b\n\nid: 2\0\ndata: c\n\n').map(({ id }) => id)).toEqual(['1', '1', '1'])
  })

  test('a name holds for its own event', () => {
    expect(parse('event: x\ndata: a\n\ndata: b\n\n').map(({ event }) => event)).toEqual(['x', 'message'])
  })

  test('in whatever pieces it comes, it says the same', () => {
    const field = fc.constantFrom(
      'data: a',
      'data:b',
      'event: e',
      'id: 3',
      ': c',
      '',
      'data',
      'x',
      'data:\u00e9\u{1f600}',
    )
    const text = fc
      .array(fc.tuple(field, fc.constantFrom('\n', '\r\n', '\r')), { maxLength: 20 })
      .map((lines) => lines.map(([line, end]) => line + end).join(''))
    fc.assert(
      fc.property(text, fc.array(fc.nat({ max: 60 })), (whole, cuts) => {
        const at = [0, ...cuts.map((cut) => Math.min(cut, whole.length)).toSorted((a, b) => a - b), whole.length]
        const pieces = at.slice(1).map((to, index) => whole.slice(at[index], to))
        expect(parse(...pieces)).toEqual(parse(whole))
      }),
    )
  })

  test('an event without an end is refused, and many that end are not', () => {
    const parser = new SseParser()
    const piece = 'x'.repeat(8 * 1024 * 1024)
    for (let n = 0; n < 3; n++) parser.push(piece)
    expect(() => Array.from({ length: 2 }, () => parser.push(piece))).toThrow('has no end')
    const good = new SseParser()
    expect(Array.from({ length: 6 }, () => good.push(`data: ${piece}\n\n`).length)).toEqual([1, 1, 1, 1, 1, 1])
  })
})
