import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect, it } from 'vitest'
import { parse } from 'yaml'
import { publishRegistrySchema } from './published-schema.ts'
import { VALID_REGISTRY } from './registry.fixture.ts'

const validate = new Ajv2020({ strict: false }).compile(publishRegistrySchema())

it('accepts what the program accepts', () => {
  expect([validate(parse(VALID_REGISTRY)), validate.errors]).toEqual([true, null])
  expect(validate(parse(VALID_REGISTRY.replace('execution_type: shell', 'execution_type: Shell')))).toBe(true)
  expect(validate(parse(`${VALID_REGISTRY}production: {services: [{name: stripe, description: live}]}`))).toBe(true)
})

it.each([
  ['type: payment', 'typ: payment'],
  ['execution_type: shell', 'execution_type: quantum'],
  ['max_retries: 1', 'max_retries: many'],
  ['image: example', 'imag: example'],
  ['environment: python-sci', 'environmnt: python-sci'],
  ['services:', 'servces:'],
])('refuses %j changed to %j', (before, after) => {
  expect(validate(parse(VALID_REGISTRY.replace(before, after)))).toBe(false)
})
