import { expect, it } from 'vitest'
import { matchesTag, readRange } from './byte-range.ts'

it.each([
  [undefined, 'all'],
  ['bytes=0-4', { start: 0, end: 4 }],
  ['bytes=5-', { start: 5, end: 9 }],
  ['bytes=-3', { start: 7, end: 9 }],
  ['bytes=-300', { start: 0, end: 9 }],
  ['bytes=9-999999999999999', { start: 9, end: 9 }],
  ['bytes=10-', 'unsatisfiable'],
  ['bytes=-0', 'unsatisfiable'],
  ['bytes=4-2', 'all'],
  ['bytes=-', 'all'],
  ['bytes=0-1,3-4', 'all'],
  ['bytes=1e1-', 'all'],
  ['bytes=99999999999999999999-', 'all'],
  ['items=0-1', 'all'],
])('%s of ten bytes is %j', (header, answer) => {
  expect(readRange(header, 10)).toEqual(answer)
})

it('has no range of an empty file', () => {
  expect([readRange('bytes=0-', 0), readRange('bytes=-1', 0)]).toEqual(['unsatisfiable', 'unsatisfiable'])
})

it.each([
  ['"a"', true],
  ['W/"a"', true],
  ['"b", "a"', true],
  ['*', true],
  ['"b"', false],
  [undefined, false],
])('If-None-Match: %s is %s', (header, answer) => {
  expect(matchesTag(header, '"a"')).toBe(answer)
})
