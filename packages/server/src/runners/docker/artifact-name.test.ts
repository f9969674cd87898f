import { expect, it } from 'vitest'
import { nameProblem, printableName } from './artifact-name.ts'

it.each(['a.txt', 'über das Bild.png', 'a b.csv', `${'x'.repeat(196)}.txt`])('%j may leave', (name) => {
  expect(nameProblem(name)).toBeNull()
})

it.each([
  '',
  '.a',
  '..',
  '-a.txt',
  'a/b',
  'a\\b',
  'a\nb',
  'a\u0000',
  'a\u202etxt.png',
  'a\u200b.txt',
  'a\ufffd.txt',
  'a\u2028',
  'x'.repeat(201),
])('%j may not', (name) => {
  expect(nameProblem(name)).toBe('BAD_NAME')
})

it('a name is shown in ASCII, and in bounds', () => {
  expect(printableName('a\nü\\')).toBe('a\\x0a\\xc3\\xbc\\x5c')
  expect(printableName('x'.repeat(10_000))).toHaveLength(200)
})
