import fc from 'fast-check'
import { expect, it } from 'vitest'
import { expandReferences, findBrokenReference, referencedVariables } from './references.ts'

const variables = new Map([
  ['HOST', 'example.org'],
  ['NESTED', '${HOST}'],
])

it.each([
  ['https://${HOST}/v1', 'https://example.org/v1'],
  ['${HOST}${HOST}', 'example.orgexample.org'],
  ['$${HOST}', '${HOST}'],
  ['$$${HOST}', '$${HOST}'],
  ['${NESTED}', '${HOST}'],
  ['$HOST', '$HOST'],
  ['costs $5', 'costs $5'],
])('%s becomes %s', (text, expanded) => {
  expect(findBrokenReference(text)).toBeNull()
  expect(expandReferences(text, variables)).toBe(expanded)
})

it.each(['${', '${}', '${A', '${A-B}', '${A:-default}', '${ A }', '${1A}', '${A${B}}', `\${${'A'.repeat(300)}}`])(
  '%s is refused',
  (text) => {
    expect(findBrokenReference(text)).toContain('is no reference')
  },
)

it('names each variable once', () => {
  expect(referencedVariables('${A} $${B} ${C}${A}')).toEqual(['A', 'C'])
})

it('leaves no trace of a reference it was given a value for', () => {
  const name = fc.stringMatching(/^[A-Za-z_]\w{0,8}$/)
  fc.assert(
    fc.property(name, fc.string(), fc.string(), fc.string(), (variable, before, value, after) => {
      fc.pre(!before.includes('$') && !after.includes('$'))
      expect(expandReferences(`${before}\${${variable}}${after}`, new Map([[variable, value]]))).toBe(
        before + value + after,
      )
    }),
  )
})
