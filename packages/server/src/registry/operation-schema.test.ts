import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { compileOperationSchema, OperationSchemaError } from './operation-schema.ts'

const MIB = 1024 * 1024
const field = (schema: object) => compileOperationSchema({ type: 'object', properties: { a: schema } }, true)

describe('compileOperationSchema', () => {
  it.each([
    [{ amount: 'number' }, '{"amount": 1}', null],
    [{ amount: 'number' }, '{"amount": "1"}', '/amount must be number'],
    [{ amount: 'number' }, '{}', " must have required property 'amount'"],
    [{ amount: 'number' }, '{"amount": 1, "extra": 1}', ' must NOT have additional properties: "extra"'],
    [{ amount: 'number' }, null, " must have required property 'amount'"],
    [{ amount: 'number' }, '[1]', ' must be object'],
    [{ note: 'string?' }, null, null],
    [{ constructor: 'string' }, '{}', " must have required property 'constructor'"],
    [
      { type: 'object', properties: { c: { enum: ['a', 'b'] } } },
      '{"c": "d"}',
      '/c must be equal to one of the allowed values: ["a","b"]',
    ],
  ])('%j answers %j with %j', (definition, json, expected) => {
    const mismatch = compileOperationSchema(definition, true).check(json)
    expect(mismatch === null ? null : `${mismatch.pointer} ${mismatch.message}`).toBe(expected)
  })

  it.each([
    [{ type: 'object', properties: { a: { type: 'strng' } } }, ['properties', 'a', 'type'], 'must be'],
    [{ type: 'object', colour: 'red', properties: {} }, [], 'unknown keyword: "colour"'],
    [{ type: 'object', properties: { a: { type: 'string', format: 'phone' } } }, [], 'unknown format "phone"'],
    [{ type: 'object', properties: { a: { type: 'string', pattern: '(?=a)b' } } }, [], 'no look-around'],
    [{ type: 'object', properties: { a: { type: 'string', pattern: '(a{1,900}){1,900}' } } }, [], 'cannot be used'],
    [{ type: 'object', $ref: 'https://example.org/schema.json' }, [], "can't resolve reference"],
    [{ type: 'string' }, ['type'], 'must be "object"'],
    [{ a: 'strng' }, ['a'], 'did you mean "string"?'],
  ])('refuses %j', (definition, path, words) => {
    let error: unknown
    try {
      compileOperationSchema(definition, true)
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(OperationSchemaError)
    expect(error).toMatchObject({ path, message: expect.stringContaining(words) as unknown })
  })

  it.each(['date', 'time', 'date-time', 'uuid', 'email', 'ipv4', 'ipv6', 'uri', 'uri-reference', 'json-pointer'])(
    'checks the format %s, also of a megabyte, in bounded time',
    { timeout: 10_000 },
    (format) => {
      const schema = field({ type: 'string', format })
      for (const piece of ['1', 'a', 'a.', ':', '1:', '/', '%', 'a@', '2020-01-01T']) {
        schema.check(JSON.stringify({ a: `${piece.repeat(Math.ceil(MIB / piece.length / 2))}\u0000` }))
      }
      expect(schema.check('{"a": "\\u0000 no such thing"}')).not.toBeNull()
    },
  )

  it('finds equal items in linear time, whatever the order of their keys', { timeout: 10_000 }, () => {
    const schema = field({ type: 'array', uniqueItems: true })
    expect(schema.check('{"a": [{"x": 1, "y": 2}, {"y": 2, "x": 1.0}]}')?.message).toContain('two equal items')
    expect(schema.check('{"a": [1, "1", [1], {"1": 1}, null, true]}')).toBeNull()
    expect(schema.check(`{"a": [${Array.from({ length: 100_000 }, (_, i) => `{"i":${i}}`).join(',')}]}`)).toBeNull()
  })

  it.each(['^(a+)+$', '^(a|a)*$', '^(.*a){20}$', '(x+x+)+y', '^([a-z]+)*\\d$', '(.*)(.*)(.*)[^a]{200,900}'])(
    'runs the pattern %s on a hostile megabyte in bounded time',
    { timeout: 10_000 },
    (pattern) => {
      const json = JSON.stringify({ a: `${'a'.repeat(MIB - 100)}!` })
      field({ type: 'string', pattern }).check(json)
      expect(field({ type: 'string', pattern }).check('{"a": "B!"}')).not.toBeNull()
    },
  )

  it('runs a small pattern on a megabyte, and says when a large one is too much for a long text', () => {
    const letters = (count: number) => JSON.stringify({ a: 'a'.repeat(count) })
    const large = field({ type: 'string', pattern: '^[a-z]{1,900}$' })
    expect(field({ type: 'string', pattern: '^[a-z]+$' }).check(letters(MIB))).toBeNull()
    expect(large.check(letters(900))).toBeNull()
    expect(large.check(letters(901))?.message).toContain('must match pattern')
    expect(large.check(letters(MIB))?.message).toContain('too long for the pattern')
  })

  it('ends a check that the schema itself makes endless', { timeout: 10_000 }, () => {
    const doubling = { type: 'object', properties: { a: { allOf: [{ $ref: '#' }, { $ref: '#' }] } } }
    const json = '{"a":'.repeat(100) + '{}' + '}'.repeat(100)
    expect(compileOperationSchema(doubling, true).check(json)?.message).toContain('within 2000 ms')
    const endless = { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } }
    expect(() => compileOperationSchema(endless, true)).toThrow('call stack')
  })

  it('looks at no value that is nested deeper than a stack', () => {
    const json = `{"a": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`
    for (const definition of [{}, { a: 'any' }]) {
      expect(compileOperationSchema(definition, true).check(json)?.message).toContain('levels deep')
    }
  })

  it('agrees with the language about what a pattern of simple parts matches', () => {
    const part = fc.constantFrom(
      'a',
      'b',
      '[ab]',
      '\\d',
      '\\w',
      '.',
      '(a|bc)',
      'a?',
      'b*',
      'c+',
      '[^a]',
      'x{2,3}',
      '\\s',
      '^',
      '$',
    )
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'c', 'x', '1', ' ', 'é', '😀') })
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), text, (parts, value) => {
        const pattern = parts.join('')
        const isMatch = field({ type: 'string', pattern }).check(JSON.stringify({ a: value })) === null
        expect(isMatch).toBe(new RegExp(pattern, 'u').test(value))
      }),
      { numRuns: 150 },
    )
  })
})
