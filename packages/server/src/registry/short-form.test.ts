import { expect, it } from 'vitest'
import { toJsonSchema } from './short-form.ts'

const object = (properties: object, required: string[]) => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
})

it.each([
  [{ amount: 'number' }, object({ amount: { type: 'number' } }, ['amount'])],
  [{ note: 'string?' }, object({ note: { type: 'string' } }, [])],
  [{ tags: 'string[]' }, object({ tags: { type: 'array', items: { type: 'string' } } }, ['tags'])],
  [{ anything: 'any' }, object({ anything: {} }, ['anything'])],
  [{ inner: { id: 'integer' } }, object({ inner: object({ id: { type: 'integer' } }, ['id']) }, ['inner'])],
  [{ amount: { type: 'number', minimum: 0 } }, object({ amount: { type: 'number', minimum: 0 } }, ['amount'])],
  // Fields that are called like keywords.
  [
    { type: 'string', name: 'string' },
    object({ type: { type: 'string' }, name: { type: 'string' } }, ['type', 'name']),
  ],
  [{ properties: 'object' }, object({ properties: { type: 'object' } }, ['properties'])],
  [{ title: 'string' }, object({ title: { type: 'string' } }, ['title'])],
])('%j is the short form of %j', (short, schema) => {
  expect(toJsonSchema(short, true)).toEqual(schema)
})

it.each([
  {},
  { type: 'object' },
  { type: 'object', properties: { a: { type: 'number' } }, required: ['a'] },
  { properties: { a: { type: 'number' } } },
  { anyOf: [{ required: ['a'] }, { required: ['b'] }] },
  { $ref: '#/$defs/a', $defs: { a: { type: 'object' } } },
])('%j is a schema already', (schema) => {
  expect(toJsonSchema(schema, true)).toBe(schema)
})

it('leaves fields that are not listed to an open form', () => {
  expect(toJsonSchema({ a: { b: 'number' } }, false)).toEqual({
    type: 'object',
    properties: { a: { type: 'object', properties: { b: { type: 'number' } }, required: ['b'] } },
    required: ['a'],
  })
})

it.each([{ a: 'strng' }, { a: 3 }, { a: null }, { a: ['string'] }, { a: { b: 'numbers' } }])('refuses %j', (short) => {
  expect(() => toJsonSchema(short, true)).toThrow('neither a JSON Schema nor a type')
})
