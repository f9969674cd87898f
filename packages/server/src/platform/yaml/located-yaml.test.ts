import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { lineFinder, pathText, placeAt, readLocatedYaml, toPlain } from './located-yaml.ts'

const KIB = 1024

function plain(text: string): unknown {
  const { root } = readLocatedYaml(text)
  return root === null ? null : toPlain(root)
}

function messages(text: string): string {
  return readLocatedYaml(text)
    .faults.map(({ message }) => message)
    .join('; ')
}

describe('readLocatedYaml', () => {
  it('knows the place of every value and key, through aliases too', () => {
    const text = 'a: &x\n  b: [1, two]\nc: *x\n'
    const { root } = readLocatedYaml(text)
    if (root === null) throw new Error('nothing was read')
    expect(toPlain(root)).toEqual({ a: { b: [1, 'two'] }, c: { b: [1, 'two'] } })
    const place = placeAt(root, ['a', 'b', 1])
    expect([pathText(place), lineFinder(text)(place.offset)]).toEqual(['a.b.1', { line: 2, column: 10 }])
    expect(lineFinder(text)(placeAt(root, ['a', 'b'], 'key').offset)).toEqual({ line: 2, column: 3 })
    // What is missing is told at its nearest parent.
    expect(pathText(placeAt(root, ['a', 'nothing', 'here']))).toBe('a')
  })

  it('takes an alias for what its name meant where it stands', () => {
    expect(plain('{a: &x 1, b: &y [*x, &z 1], c: &x 2, d: *y, e: *x, f: &z 2, g: *y, h: *z}')).toEqual({
      a: 1,
      b: [1, 1],
      c: 2,
      d: [1, 1],
      e: 2,
      f: 2,
      g: [1, 1],
      h: 2,
    })
  })

  it('takes a number for a key as it is written', () => {
    const text = '{12345678901234567890: a, 1.0: b, 1: c, 0x10: d, 1e400: e}'
    expect(plain(text)).toEqual({ '12345678901234567890': 'a', '1.0': 'b', '1': 'c', '0x10': 'd', '1e400': 'e' })
  })

  it.each([
    ['a: 1\nb: 2\na: 3', 'the key "a" stands here a second time'],
    ['__proto__: {polluted: true}', 'the key __proto__ is refused'],
    ['a: {__proto__: 1}', 'the key __proto__ is refused'],
    ['? [1]\n: 2', 'a key must be plain text'],
    ['a: !!binary aGk=', 'tag'],
    ['a: !exec ls', 'tag'],
    ['a: .inf', 'Infinity is not a number'],
    ['a: "\\ud800"', 'lone surrogate'],
    ['a: &x [*x]', 'within its own anchor'],
    ['a: *x', 'x'],
    ['a: [1', ''],
    ['a: 1\n---\nb: 2', 'multiple documents'],
    ['a: \tb:\n\t- c', ''],
  ])('refuses %j', (text, words) => {
    expect(readLocatedYaml(text).root).toBeNull()
    expect(messages(text)).toContain(words)
  })

  it('takes other keys of Object for what they are', () => {
    const value = plain('constructor: 1\nprototype: 2\ntoString: 3\n') as Record<string, unknown>
    expect(Object.entries(value)).toEqual([
      ['constructor', 1],
      ['prototype', 2],
      ['toString', 3],
    ])
  })

  it('reads back whatever YAML can say of JSON', () => {
    const key = fc.string({ unit: 'grapheme' }).filter((text) => text !== '__proto__')
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.boolean(),
        fc.integer(),
        fc.string({ unit: 'grapheme' }),
        fc.array(tie('tree'), { maxLength: 4 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 4 }),
      ),
    }))
    fc.assert(
      fc.property(tree, (value) => {
        expect(JSON.stringify(plain(stringify(value)))).toBe(JSON.stringify(value))
      }),
    )
  })

  it('never throws and gives either a value or faults, whatever the text', () => {
    const piece = fc.constantFrom(
      'a',
      ': ',
      '- ',
      '\n',
      '  ',
      '[',
      ']',
      '{',
      '}',
      ',',
      '&a ',
      '*a',
      '!t ',
      '"',
      "'",
      '|',
      '>',
      '#',
      '%',
      '? ',
      '<<: ',
      '\t',
      '__proto__',
      '\u0000',
      '\ud800',
      '---\n',
    )
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const { root, faults } = readLocatedYaml(pieces.join(''))
        expect(root === null || faults.length === 0).toBe(true)
        expect(faults.every(({ message }) => message.length < 400)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})

/** Each is refused. What was quadratic would take minutes, so that the time-out of the test is the bound. */
const BOMBS: [name: string, text: string, words: string][] = [
  [
    'aliases of aliases',
    `${Array.from({ length: 12 }, (_, i) => `a${i}: &a${i} [${Array.from({ length: 10 }, () => (i === 0 ? 'x' : `*a${i - 1}`)).join(',')}]`).join('\n')}\n`,
    'more than 100000 values',
  ],
  ['nested lists', '['.repeat(256 * KIB), 'tokens'],
  ['nested lists of few tokens', `${'['.repeat(5_000)}${']'.repeat(5_000)}`, 'nested more than 64 levels'],
  ['nested dashes', '- '.repeat(50_000), ''],
  ['nested question marks', '? '.repeat(50_000), ''],
  ['14 000 equal keys', 'a: 1\n'.repeat(14_000), 'second time'],
  ['quotes that are never closed', '"'.repeat(200 * KIB), 'tokens'],
  ['quotes that never close, as many as are read', '"'.repeat(190_000), ''],
  ['a 10 MB string', `a: "${'x'.repeat(10 * KIB * KIB)}"`, 'at most 1048576 are read'],
  ['a million line breaks', '\n'.repeat(900_000), 'tokens'],
  ['a key of 512 KiB', `${'k'.repeat(512 * KIB)}: 1`, ''],
]

it.each(BOMBS)('%s are refused in bounded time', { timeout: 30_000 }, (_name, text, words) => {
  const { root, faults } = readLocatedYaml(text)
  expect(root).toBeNull()
  expect(faults.length).toBeGreaterThan(0)
  expect(faults.map(({ message }) => message).join('; ')).toContain(words)
})

it('reads 14 000 different keys in linear time', { timeout: 30_000 }, () => {
  const text = Array.from({ length: 14_000 }, (_, i) => `k${i}: 1\n`).join('')
  expect(Object.keys(plain(text) as object)).toHaveLength(14_000)
})
