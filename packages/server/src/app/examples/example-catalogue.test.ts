import { expect, it } from 'vitest'
import { listExamples, requireExample } from './example-catalogue.ts'

it('finds the example of a name, in a folder that is there', () => {
  expect(listExamples()).toContainEqual(requireExample('commerce'))
  expect(requireExample('commerce').folder).toMatch(/\/examples\/commerce$/)
})

it.each([
  ['comerce', 'there is no example "comerce"; did you mean "commerce"? Examples: commerce'],
  ['../registry', 'there is no example "../registry". Examples: commerce'],
  ['__proto__', 'there is no example "__proto__". Examples: commerce'],
])('refuses %j', (name, message) => {
  expect(() => requireExample(name)).toThrow(expect.objectContaining({ code: 'EXAMPLE_NOT_FOUND', message }))
})
