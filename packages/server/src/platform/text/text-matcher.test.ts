import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { TextMatcher } from './text-matcher.ts'

/** Few signs, so that beginnings, repetitions and overlaps are common. */
const textOf = (minLength: number, maxLength: number) =>
  fc.string({ unit: fc.constantFrom('a', 'b', 'é'), minLength, maxLength })
const patterns = fc.uniqueArray(textOf(2, 9), { minLength: 1, maxLength: 12 })

/** Every place of every pattern, as slowly as can be. */
function covered(text: string, of: readonly string[]): boolean[] {
  const signs = Array.from(text, () => false)
  for (const pattern of of)
    for (let at = 0; at + pattern.length <= text.length; at++)
      if (text.slice(at, at + pattern.length) === pattern) signs.fill(true, at, at + pattern.length)
  return signs
}

describe('TextMatcher', () => {
  it('covers what one search after the other would, and nothing else', () => {
    fc.assert(
      fc.property(patterns, textOf(0, 60), (of, text) => {
        const signs = Array.from(text, () => false)
        for (const { start, end } of new TextMatcher(of).find(text)) signs.fill(true, start, end)
        expect(signs).toEqual(covered(text, of))
        expect(new TextMatcher(of).has(text)).toBe(signs.includes(true))
      }),
    )
  })

  it('knows the longest end that is a beginning', () => {
    fc.assert(
      fc.property(patterns, textOf(0, 20), (of, text) => {
        const begun = Array.from(text, (_sign, at) => text.slice(at)).find((end) =>
          of.some((pattern) => pattern.length > end.length && pattern.startsWith(end)),
        )
        expect(new TextMatcher(of).longestBeginning(text)).toBe(begun?.length ?? 0)
      }),
    )
  })

  it('takes one that is longer than a shift can be', () => {
    const long = 'x'.repeat(999)
    expect(new TextMatcher([`${long}y`]).find(`..${long}y.`)).toEqual([{ start: 2, end: 1_002 }])
    expect(new TextMatcher([]).has('text')).toBe(false)
  })
})
