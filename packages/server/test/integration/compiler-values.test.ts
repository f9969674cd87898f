import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compileTexts, orderWith } from '../../src/compiler/compiler.fixture.ts'
import type { DatabasePool } from '../../src/platform/db/database.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import { CHARGE, CommerceDatabase } from './commerce-database.ts'
import { readRow, scalar } from './queue-fixture.ts'

let commerce: CommerceDatabase
let db: TestDatabase
let app: DatabasePool
beforeAll(async () => {
  commerce = await CommerceDatabase.create()
  ;({ db, app } = commerce)
})
afterAll(() => commerce.drop())

describe('names that SQL gives a meaning', () => {
  it('are names here, and ids may be numbers', async () => {
    await db.admin.query(`create table commerce."Select" (id bigint primary key, "user" text, "order" integer, "Mixed" text, t text, j text);
      grant select, insert, update on commerce."Select" to ergon_enqueue; insert into commerce."Select" values (9007199254740993, 'u', 1, 'm', 't', 'j')`)
    const text = `entity: Group\nschema: commerce\ntable: Select\nfields: {id: bigint, user: text, order: integer, Mixed: text, t: text, j: text}
actions:
  - name: grant
    steps:
      - update: Group SET user = $group.user || t || j, order = order + 1 WHERE id = $group.id and Mixed = 'm'
      - call_service: {service: mail, operation: send, key: [user], input: {user: $group.user, order: $group.order, id: $group.id}, as: letter}
      - return: $letter.id
`
    await db.admin.query(compileTexts([text]))
    const job = await scalar(app, 'select commerce."grant"(9007199254740993)')
    expect(await scalar(app, 'select input_data::text from jobs.tb_job_run where id = $1', [job])).toBe(
      '{"id": 9007199254740993, "user": "utj", "order": 2}',
    )
    expect(await readRow(db.admin, String(job))).toMatchObject({ entity_pk: '9007199254740993', entity_type: 'Group' })
  })
})

describe('words that PL/pgSQL takes for its own', () => {
  const WORDS =
    'all begin by case declare else end execute for foreach from if into loop strict then to using when while'
  it('are names of fields in every statement', async () => {
    const columns = WORDS.split(' ')
    await db.admin.query(
      `create table commerce.words (id uuid primary key default gen_random_uuid(), ${columns.map((word) => `"${word}" text default '${word}'`).join(', ')});
       grant select, insert, update on commerce.words to ergon_enqueue`,
    )
    const fields = columns.map((word) => `${word}: text`).join(', ')
    const all = columns.map((word) => `$words.${word}`).join(' || ')
    const text = `entity: Words\nschema: commerce\nfields: {${fields}}
actions:
  - name: use_words
    steps:
      - validate: ${columns.map((word) => `$words.${word} = '${word}'`).join(' and ')}
        error: not the words
      - insert: Words
        as: copy
        values: {${columns.map((word) => `${word}: $words.${word}`).join(', ')}}
      - update: Words SET ${columns.map((word) => `${word} = ${word} || '!'`).join(', ')} WHERE id = $copy.id
      - call_service: {service: mail, operation: send, key: [into, then], input: {all: ${all}}, correlation_field: $words.into, as: letter}
      - return: {job: $letter.id, copy: $copy.then, into: $words.into}
`
    await db.admin.query(compileTexts([text]))
    const id = await scalar(app, 'insert into commerce.words default values returning id')
    const made = Object(await scalar(app, 'select commerce.use_words($1)', [id]))
    expect(made).toMatchObject({ copy: 'then!', into: 'into' })
    expect(await readRow(db.admin, made.job)).toMatchObject({
      input_data: { all: columns.join('') },
      correlation_id: 'into',
      identifier: expect.stringContaining('["into", "then"]'),
    })
  })
})

describe('input that only the running function knows', () => {
  it.each([
    [{ total: null }, '/amount must be there, number, found null'],
    [{ total: 'NaN' }, 'must be there, number, found NaN'],
    [{ total: 'Infinity' }, 'must be there, number, found Infinity'],
    [{ customer_id: null }, '/customer must be there, found null'],
  ])('%j is checked before the job is made', async (columns, message) => {
    const act = await commerce.compile(orderWith(`${CHARGE}}`))
    await expect(act([await commerce.newOrder(columns)])).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining(message),
    })
  })

  it.each(['ceil($order.total)', 'round($order.total)', 'abs(floor($order.total))'])(
    '%s is no number of NaN',
    async (whole) => {
      const act = await commerce.compile(
        orderWith(
          `- call_service: {service: stripe, operation: create_charge, input: {amount: $order.quantity + ${whole}, customer: $order.customer_id}}`,
        ),
      )
      await expect(act([await commerce.newOrder({ total: 'NaN', quantity: 1 })])).rejects.toMatchObject({
        code: 'INPUT_INVALID',
      })
    },
  )

  it.each([
    [{ total: '0' }, '/amount must be there, number, more than 0, at most 1000, found 0'],
    [{ total: '1000.5' }, 'at most 1000, found 1000.5'],
    [{ meta: '1.5' }, '/count must be integer, without a fraction, found 1.5'],
    [{ meta: '"1"' }, '/count must be integer'],
    [{ note: 'damaged and more' }, '/reason must be at most 10 characters long'],
    [{ note: 'other' }, '/reason must be at most 10 characters long, one of "damaged"'],
  ])('%j does not fit bounds, lengths, types and lists of values', async (columns, message) => {
    const act = await commerce.compile(
      orderWith(
        `- call_service: {service: stripe, operation: refund, input: {amount: $order.total, count: $order.meta, reason: $order.note, lines: [{sku: $order.status}]}}`,
      ),
    )
    await act([await commerce.newOrder({ meta: '12345678901234567890', note: "it's" })])
    await expect(act([await commerce.newOrder({ meta: '1', note: 'lost', ...columns })])).rejects.toMatchObject({
      code: 'INPUT_INVALID',
      message: expect.stringContaining(message),
    })
  })
})
