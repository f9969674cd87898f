import { expect, test } from 'vitest'
import { closestMatch } from './closest-match.ts'

test.each([
  ['pyhton-sci', 'python-sci'],
  ['python', 'python-sci'],
  ['Python-Sci', 'python-sci'],
  ['latx', 'latex'],
  ['quantum', undefined],
])('%s means %s', (word, meant) => {
  expect(closestMatch(word, ['python-sci', 'latex', 'octave'])).toBe(meant)
})

test('nothing to choose from means nothing', () => {
  expect(closestMatch('spine', [])).toBeUndefined()
})

test('measures no word that is far too long', () => {
  const startedAt = performance.now()
  expect(closestMatch('q'.repeat(1_000_000), ['python-sci'])).toBeUndefined()
  expect(performance.now() - startedAt).toBeLessThan(100)
})
