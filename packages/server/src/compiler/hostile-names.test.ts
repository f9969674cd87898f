import fc from 'fast-check'
import { expect, it } from 'vitest'
import { compileTexts } from './compiler.fixture.ts'
import { CompileError } from './compile-error.ts'

const hostile = fc.oneof(
  fc.constantFrom(
    'order',
    'select',
    'Order"; drop table x; --',
    "a'b",
    'a b',
    'a\nb',
    '$$',
    'a$b',
    '',
    '_a',
    '1a',
    'é',
    'a'.repeat(64),
    'constructor',
    'toString',
    'pg_catalog',
    'jobs',
    't',
    'j',
    'id',
    'result',
    'ergon_job',
    'job_id_mailsend',
    'order_id',
    '%rowtype',
    'null',
    'true',
  ),
  fc.string({ maxLength: 8 }),
)
const names = fc.record({
  entity: hostile,
  schema: hostile,
  table: hostile,
  field: hostile,
  type: hostile,
  action: hostile,
  param: hostile,
  as: hostile,
  job: hostile,
})
/** Names that are in order, so that one hostile word at a time has all the rest of the compiler before it. */
const GOOD = {
  entity: 'Order',
  schema: 'commerce',
  table: 'orders',
  field: 'note',
  type: 'text',
  action: 'act',
  param: 'why',
  as: 'entry',
  job: 'letter',
}

function entityWith(words: typeof GOOD): string {
  const { entity, schema, table, field, type, action, param, as, job } = words
  const call = {
    service: 'mail',
    operation: 'send',
    as: job,
    key: [field, `$${param}`],
    input: { [field]: `$${param}` },
  }
  return JSON.stringify({
    entity,
    schema,
    table,
    fields: { [field]: type, other: 'text' },
    actions: [
      {
        name: action,
        params: { [param]: type },
        steps: [
          { insert: entity, as, values: { [field]: `$${param}` } },
          { update: `${entity} SET ${field} = $${param} WHERE id = $${as}.id` },
          {
            call_service: { ...call, on_success: [{ update: `${entity} SET ${field} = ${field} WHERE id = $job.id` }] },
          },
          { return: { [field]: `$${as}.${field}`, job: `$${job}.id` } },
        ],
      },
    ],
  })
}

/** Either a fault, or SQL of as many statements as these steps are; the fixture has both parsers read it. */
function compileOrRefuse(words: typeof GOOD): string | null {
  try {
    return compileTexts([entityWith(words)])
  } catch (error) {
    if (error instanceof CompileError) return null
    throw error
  }
}

it('a name is refused or quoted, wherever it stands', () => {
  expect(compileOrRefuse(GOOD)).not.toBeNull()
  const position = fc.constantFrom(...(Object.keys(GOOD) as (keyof typeof GOOD)[]))
  fc.assert(
    fc.property(position, hostile, (at, word) => {
      const sql = compileOrRefuse({ ...GOOD, [at]: word })
      expect(sql === null || !/drop table/.test(sql)).toBe(true)
    }),
    { numRuns: 300, seed: 11 },
  )
  fc.assert(
    fc.property(names, (words) => {
      const sql = compileOrRefuse(words)
      expect(sql === null || !/drop table/.test(sql)).toBe(true)
    }),
    { numRuns: 100, seed: 12 },
  )
}, 60_000)

it.each(['order', 'select', 'user', 'constructor', 'toString', 't', 'j', 'Mixed'])(
  'a field may be called %s',
  (field) => {
    expect(compileOrRefuse({ ...GOOD, field })).toContain(`"${field}"`)
  },
)
