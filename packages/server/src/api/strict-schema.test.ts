import { submitBatchSchema, submitRequestSchema } from '@ergon/contract'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { RequestError } from './problem.ts'
import { checkPart } from './strict-schema.ts'

const MANY = 100_000
const many = (item: unknown): unknown[] => Array.from({ length: MANY }, () => item)
const withDependencies = (dependencies: unknown[]) => ({
  schema_version: '1.0',
  job_id: '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10',
  job_type: 'object_execute',
  environment: { language: 'python', env_version: 'python-sci' },
  inputs: {
    object: {
      type: 'code',
      content: { format: 'text', value: '' },
      runtime: { language: 'python' },
      dependencies,
    },
  },
})

function faultsOf(schema: z.ZodType, body: unknown) {
  try {
    checkPart(schema, 'body', body)
    return []
  } catch (error) {
    if (!(error instanceof RequestError)) throw error
    return error.places.map(({ pointer, message }) => `${pointer}: ${message}`)
  }
}

it('tells each of a few faults, wherever they are', () => {
  const dependencies = many({ kind: 'object', id: 'x' })
  for (const at of [3, 50_000, MANY - 1]) dependencies[at] = { kind: 'object' }
  const body = { ...withDependencies(dependencies), priority: 'urgent' }
  expect(faultsOf(submitRequestSchema, body)).toEqual([
    '/priority: Invalid option: expected one of "low"|"normal"|"high"',
    ...[3, 50_000, MANY - 1].map(
      (at) => `/inputs/object/dependencies/${at}/id: Invalid input: expected string, received undefined`,
    ),
  ])
})

it.each([
  [
    'a job',
    submitRequestSchema,
    withDependencies(many(1)),
    '/inputs/object/dependencies/19: Invalid input: expected object, received number',
  ],
  [
    'jobs',
    submitBatchSchema,
    { jobs: Array.from({ length: 21 }, () => withDependencies(many(1))) },
    '/jobs/19: Invalid input',
  ],
  ['too many jobs', submitBatchSchema, { jobs: many({}) }, '/jobs: Too big: expected array to have <=100 items'],
  [
    'fields',
    submitRequestSchema,
    { ...withDependencies([]), ...Object.fromEntries(many(1).entries()) },
    '/19: there is no such field',
  ],
])('tells the first twenty of many faults: %s', (_, schema, body, last) => {
  expect(faultsOf(schema, body).at(-1)).toBe(last)
})

it('looks no further than the faults that it tells', () => {
  let looks = 0
  const counted = z.number().refine((n) => ++looks > 0 && n > 0)
  const schema = z.object({
    list: z.exactOptional(z.array(z.object({ numbers: z.array(counted).default([]) }))),
    batch: z
      .array(z.object({ numbers: z.array(counted) }))
      .max(100)
      .default([]),
  })
  const item = { numbers: many(0) }
  expect(faultsOf(schema, { list: many(item) })).toHaveLength(20)
  expect(faultsOf(schema, { batch: Array.from({ length: 10 }, () => item) })).toHaveLength(20)
  // Twenty of twenty lists, and of ten; each is looked at a few times.
  expect(looks).toBeLessThan(3_000)
  expect(looks).toBeGreaterThan(600)
})

it('reads no more unknown fields than it tells', () => {
  let reads = 0
  const body = new Proxy(Object.fromEntries(many(1).entries()), {
    get(target, key) {
      reads++
      return Reflect.get(target, key)
    },
  })
  expect(faultsOf(z.object({ known: z.exactOptional(z.string()) }), body)).toHaveLength(20)
  expect(reads).toBeLessThan(100)
})

it('does not take an array that is long for one that is short', () => {
  const schema = z.object({ list: z.array(z.number()).min(3).max(5), rest: z.array(z.number()).min(2) })
  expect(faultsOf(schema, { list: [1, 2], rest: many(1) })).toEqual([
    '/list: Too small: expected array to have >=3 items',
  ])
  expect(faultsOf(schema, { list: [1, 2, 3], rest: many(1) })).toEqual([])
  expect(faultsOf(schema, { list: ['', '', ''], rest: many('') })).toHaveLength(20)
})
