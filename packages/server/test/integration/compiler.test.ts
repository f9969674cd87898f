import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { compileTexts, hostFunction, orderWith } from '../../src/compiler/compiler.fixture.ts'
import type { DatabasePool } from '../../src/platform/db/database.ts'
import { inTransaction } from '../../src/platform/db/transaction.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import { CHARGE, CommerceDatabase, LOG } from './commerce-database.ts'
import { readLive, readRow, scalar } from './queue-fixture.ts'

let commerce: CommerceDatabase
let db: TestDatabase
let app: DatabasePool
beforeAll(async () => {
  commerce = await CommerceDatabase.create()
  ;({ db, app } = commerce)
})
afterAll(() => commerce.drop())

describe('a compiled function', () => {
  it('places an order with its job, in the transaction of the application', async () => {
    const act = await commerce.compile(
      orderWith(`- insert: Order\n  as: order\n${CHARGE}, as: charge}\n- return: {order: $order.id, job: $charge.id}`, {
        params: '{customer_id: uuid, total: numeric}',
      }),
    )
    const customer = randomUUID()
    const tenant = randomUUID()
    const user = randomUUID()
    const traceparent = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`
    const placed = await inTransaction(app, async (transaction) => {
      for (const [name, value] of Object.entries({ tenant_id: tenant, user_id: user, traceparent }))
        await transaction.query(`select set_config($1, $2, true)`, [`ergon.${name}`, value])
      return Object(await act([customer, '12345678901234567890.10'], transaction))
    })
    expect(await readRow(db.admin, placed.job)).toMatchObject({
      identifier: `Order_${placed.order}_Stripe_create_charge`,
      service_name: 'Stripe',
      operation: 'create_charge',
      tenant_id: tenant,
      triggered_by: user,
      correlation_id: placed.order,
      entity_type: 'Order',
      entity_pk: placed.order,
      max_attempts: 4,
      timeout_seconds: 30,
      execution_type: 'http',
      runner_config: { base_url: 'https://api.stripe.com/v1' },
      security_context: {
        tenant_id: tenant,
        user_id: user,
        policy_digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      },
      traceparent,
      status: 'pending',
    })
    expect(await scalar(db.admin, 'select input_data::text from jobs.tb_job_run where id = $1', [placed.job])).toBe(
      `{"amount": 12345678901234567890.10, "customer": "${customer}"}`,
    )
    expect(await readLive(db.admin, placed.job)).toMatchObject({ state: 'ready', lane: 'http', service: 'stripe' })
  })

  it('takes its job along when the transaction is rolled back', async () => {
    const act = await commerce.compile(orderWith(`${CHARGE}, as: charge}\n- return: $charge.id`))
    const order = await commerce.newOrder()
    let job = ''
    const aborted = inTransaction(app, async (transaction) => {
      job = String(await act([order], transaction))
      throw new Error('changed my mind')
    })
    await expect(aborted).rejects.toThrow('changed my mind')
    expect(await readRow(db.admin, job)).toBeNull()
  })

  it('gives the same job to a second call of the same tenant, also to those that race', async () => {
    const act = await commerce.compile(orderWith(`${CHARGE}, as: charge}\n- return: $charge.id`))
    const order = await commerce.newOrder()
    const ids = await Promise.all(Array.from({ length: 6 }, () => act([order])))
    expect(new Set(ids).size).toBe(1)
    const stranger = inTransaction(app, async (transaction) => {
      await transaction.query(`select set_config('ergon.tenant_id', $1, true)`, [randomUUID()])
      await act([order], transaction)
    })
    await expect(stranger).rejects.toMatchObject({ message: expect.stringContaining('IDENTIFIER_TAKEN') })
  })

  it('makes a second charge where the key says that it is one', async () => {
    const act = await commerce.compile(
      orderWith(`${CHARGE}, key: [revision, $why], as: charge}\n- return: $charge.id`, { params: '{why: text}' }),
    )
    const order = await commerce.newOrder()
    const first = await act([order, 'a'])
    expect(await act([order, 'a'])).toBe(first)
    expect(await act([order, 'b'])).not.toBe(first)
    await app.query(`update commerce."order" set revision = 2 where id = $1`, [order])
    const second = await act([order, 'a'])
    expect(second).not.toBe(first)
    expect(await readRow(db.admin, String(second))).toMatchObject({
      identifier: `Order_${order}_Stripe_create_charge_[2, "a"]`,
    })
  })

  it.each([
    ['a time', 'placed_at', { placed_at: '2026-03-01T23:30:00Z' }],
    ['a time of a column without a time zone', 'local_at', { local_at: '2026-03-01 23:30' }],
    ['a date and an interval', `$order.due + interval '1 day'`, { due: '2026-03-01' }],
    ['a date or a time', 'coalesce($order.due, $order.placed_at)', { placed_at: '2026-03-01T23:30:00Z' }],
    ['a number that was made of a double', 'coalesce($order.weight, 1)', { weight: 0.1 + 0.2 }],
  ])('has the same key in every session: %s', async (_, key, columns) => {
    const fields =
      '{customer_id: uuid, total: numeric, note: text, placed_at: timestamptz, local_at: timestamp, due: date, weight: float}'
    const act = await commerce.compile(
      orderWith(`${CHARGE}, key: [${JSON.stringify(key)}], as: charge}\n- return: $charge.id`, { fields }),
    )
    const order = await commerce.newOrder(columns)
    const inSession = (zone: string, digits: string) =>
      inTransaction(app, async (transaction) => {
        await transaction.query(`select set_config('timezone', $1, true), set_config('extra_float_digits', $2, true)`, [
          zone,
          digits,
        ])
        return act([order], transaction)
      })
    expect(await inSession('Asia/Tokyo', '0')).toBe(await inSession('America/Lima', '1'))
  })

  it('has parameters of the digits that they are declared with', async () => {
    const steps = `- call_service: {service: stripe, operation: refund, input: {amount: $amount, count: $count}, key: [$amount], as: refund}\n- return: $refund.id`
    const act = await commerce.compile(orderWith(steps, { params: '{amount: "numeric(5,2)", count: "numeric(3,0)"}' }))
    const job = await act([await commerce.newOrder(), '10.999', '1.5'])
    expect(await scalar(db.admin, 'select input_data::text from jobs.tb_job_run where id = $1', [job])).toBe(
      '{"count": 2, "amount": 11.00}',
    )
    await expect(act([await commerce.newOrder(), '1000', '1'])).rejects.toThrow('numeric field overflow')
    const list = await commerce.compile(orderWith('- return: $amounts', { params: '{amounts: "numeric(5,2)[]"}' }))
    await expect(list([['1.999']])).resolves.toEqual([2])
  })

  it('has the same key for equal numbers', async () => {
    const act = await commerce.compile(
      orderWith(`${CHARGE}, key: [$amount], as: charge}\n- return: $charge.id`, { params: '{amount: numeric}' }),
    )
    const order = await commerce.newOrder()
    const first = await act([order, '1.50'])
    expect(await act([order, '1.5'])).toBe(first)
    expect(await act([order, '1.51'])).not.toBe(first)
  })

  it('refuses a second call where the step says so', async () => {
    const act = await commerce.compile(orderWith(`${CHARGE}, on_conflict: error}`))
    const order = await commerce.newOrder()
    await act([order])
    await expect(act([order])).rejects.toMatchObject({ code: 'JOB_EXISTS' })
  })

  it('takes no job of another meaning whose identifier happens to be the same', async () => {
    const act = await commerce.compile(orderWith(`${CHARGE}}`))
    const order = await commerce.newOrder()
    await app.query(`insert into jobs.tb_job_run (identifier, service_name, operation) values ($1, 'other', 'thing')`, [
      `Order_${order}_Stripe_create_charge`,
    ])
    await expect(act([order])).rejects.toMatchObject({ code: 'IDENTIFIER_TAKEN' })
  })

  it('says which row is not there', async () => {
    const act = await commerce.compile(orderWith(`${CHARGE}}`))
    const nobody = randomUUID()
    await expect(act([nobody])).rejects.toMatchObject({
      code: 'ENTITY_NOT_FOUND',
      message: `no Order has the id ${nobody}`,
    })
  })

  it('validates, updates, reads what it updated, and inserts', async () => {
    const steps = [
      `- validate: $order.status in ('new', 'open') and $order.total > 0\n  error: order is closed`,
      `- update: Order SET status = upper($status), total = total * 2 + 0.5, tags = $tags, placed_at = now() - interval '1 day' WHERE id = $order.id and status <> 'paid'`,
      `- insert: OrderLog\n  as: entry\n  values: {order_id: $order.id, text: "'is ' || $order.status || ' by ' || $entry_by"}`,
      `- return: {status: $order.status, total: $order.total, text: $entry.text, tags: $order.tags}`,
    ].join('\n')
    const act = await commerce.compile(
      orderWith(steps, { params: '{status: text, tags: "text[]", entry_by: text}' }),
      LOG,
    )
    const hostile = `x'); drop table commerce."order"; -- $$ \\ \u{1F600}`
    expect(await act([await commerce.newOrder(), 'open', ['a', hostile], hostile])).toEqual({
      status: 'OPEN',
      total: 21.5,
      text: `is OPEN by ${hostile}`,
      tags: ['a', hostile],
    })
    await expect(act([await commerce.newOrder({ status: 'gone' }), 'x', [], 'y'])).rejects.toThrow('order is closed')
    await expect(act([await commerce.newOrder({ total: null }), 'x', [], 'y'])).rejects.toThrow('order is closed')
  })
})

describe('a snippet', () => {
  it('runs in a function that somebody else generated, between plain dollar quotes', async () => {
    const steps = `- call_service: {service: mail, operation: send, input: {text: "$$5 off$$ $$body$$ 'x' \\\\ --", to: $order.note}}`
    await db.admin.query(hostFunction(compileTexts([orderWith(steps)], { isSnippet: true })))
    const order = await commerce.newOrder({ note: '$$ language plpgsql; drop table x; --' })
    const call = () => scalar(app, `select host(o) from commerce."order" o where id = $1`, [order])
    const job = String(await call())
    expect(await readRow(db.admin, job)).toMatchObject({
      input_data: { text: "$5 off$$ $$body$$ 'x' \\ --", to: '$$ language plpgsql; drop table x; --' },
    })
    expect(await call()).toBe(job)
  })
})

/** What functions that are deployed already contain, letter by letter but for the entity's name. */
const OLD_SHAPE = `
create function commerce.old_place_order(_order commerce."order") returns uuid language plpgsql as $$
declare
  _job_id_stripecreatecharge uuid;
begin
  INSERT INTO jobs.tb_job_run (
    identifier, idempotency_key, service_name, operation, input_data, tenant_id, triggered_by, correlation_id,
    entity_type, entity_pk, max_attempts, timeout_seconds, execution_type, runner_config, security_context
  ) VALUES (
    'Order_' || _order.id || '_stripe_create_charge', null, 'stripe', 'create_charge',
    jsonb_build_object('amount', _order.total, 'customer', _order.customer_id), null, null, _order.id::text,
    'Order', _order.id::text, 4, 30, 'HTTP', '{"base_url": "https://api.stripe.com/v1"}'::jsonb, '{}'::jsonb
  ) RETURNING id INTO _job_id_stripecreatecharge;
  return _job_id_stripecreatecharge;
end $$`

describe('the shape of functions that exist already', () => {
  it('runs as it is, and compiles to the same row', async () => {
    await db.admin.query(OLD_SHAPE)
    await db.admin.query(hostFunction(compileTexts([orderWith(`${CHARGE}}`)], { isSnippet: true })))
    const [first, second] = [await commerce.newOrder(), await commerce.newOrder()]
    const run = (name: string, id: string) =>
      scalar(app, `select ${name}(o) from commerce."order" o where id = $1`, [id])
    const old = await readRow(db.admin, String(await run('commerce.old_place_order', first)))
    const ours = await readRow(db.admin, String(await run('host', second)))
    const same = [
      'max_attempts',
      'timeout_seconds',
      'execution_type',
      'runner_config',
      'entity_type',
      'operation',
      'status',
      'priority',
    ]
    for (const column of same) expect(ours?.[column]).toEqual(old?.[column])
    expect(Object.keys(Object(old?.['input_data']))).toEqual(Object.keys(Object(ours?.['input_data'])))
    // The service's name is the registry's, and the queue's is the same.
    expect(old?.['identifier']).toBe(`Order_${first}_stripe_create_charge`)
    expect(ours?.['identifier']).toBe(`Order_${second}_Stripe_create_charge`)
    expect((await readLive(db.admin, String(ours?.['id'])))?.['service']).toBe('stripe')
  })
})
