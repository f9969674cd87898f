import { expect, test } from 'vitest'
import { figureOf, isMet, measureInterleaved, median, ratioOf } from './bench.ts'
import { toJson, toTable } from './report.ts'

const machine = { cpu: 'Abacus', cores: 2, memory_bytes: 2 ** 30, kernel: '6.1', node: '24.0.0', postgres: '18.4' }
const reference = { name: 'fork+exec', value: 0.5 }

test.each([
  [[3, 1, 2], 2],
  [[4, 1, 2, 3], 2.5],
  [[7], 7],
])('the median of %j is %d', (samples, expected) => {
  expect(median(samples)).toBe(expected)
})

test('a target is about the ratio where there is a reference, else about the value', () => {
  const compared = figureOf('start', [1, 1, 1], 'ms', { reference, target: { comparison: '<=', bound: 1.5 } })
  expect([ratioOf(compared), isMet(compared)]).toEqual([2, false])
  expect(isMet(figureOf('rate', [9], 'jobs/s', { target: { comparison: '>=', bound: 9 } }))).toBe(true)
  expect(isMet(figureOf('rss', [9], 'MB'))).toBeNull()
})

test('a figure without samples is refused', () => {
  expect(() => figureOf('start', [], 'ms')).toThrow('no samples')
})

test('rounds are interleaved, and warm-ups are not counted', async () => {
  const order: string[] = []
  const kinds = { a: () => void order.push('a'), b: () => void order.push('b') }
  const samples = await measureInterleaved(kinds, { warmUps: 1, repetitions: 2 })
  expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b'])
  expect([samples.a.length, samples.b.length]).toEqual([2, 2])
})

test('the JSON has the agreed keys', () => {
  const figure = figureOf('start', [1, 2, 3], 'ms', { reference, target: { comparison: '<=', bound: 5 } })
  expect(toJson(machine, [figure])).toEqual({
    machine,
    figures: [
      {
        figure: 'start',
        value: 2,
        unit: 'ms',
        min: 1,
        max: 3,
        reference: 0.5,
        reference_name: 'fork+exec',
        ratio: 4,
        target: 5,
        target_comparison: '<=',
        met: true,
      },
    ],
  })
})

test('the table has a line for each figure', () => {
  const text = toTable(machine, [figureOf('start', [1, 2, 3], 'ms', { reference }), figureOf('rss', [12_345], 'KB')])
  expect(text).toContain('start   2.00    1.00 – 3.00    ms    fork+exec 0.500  4.00')
  expect(text).toContain('12345')
})
