import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { compileTexts, orderWith } from '../../src/compiler/compiler.fixture.ts'
import { inTransaction } from '../../src/platform/db/transaction.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { owedFor, settled, TestRunners } from './callback-fixture.ts'
import { readRow, scalar } from './queue-fixture.ts'

let db: TestDatabase
const runners = new TestRunners(() => db)

const STEPS = `- insert: Order
  as: order
- call_service:
    service: stripe
    operation: create_charge
    as: charge
    input: {amount: $order.total, customer: $order.note}
    on_success:
      - update: Order SET status = 'paid', charge_id = $result.charge_id, total = $result.fee, is_paid = $result.detail.paid, quantity = $result.detail.attempts, meta = $result.raw WHERE id = $order.id
      - validate: $order.total < 100
        error: the fee is too high
      - call_service: {service: mail, operation: send, input: {text: "$order.status || ' ' || $order.charge_id", charge: $job.id}}
    on_failure:
      - update: Order SET status = 'failed', note = $error.message WHERE id = $order.id
- return: {order: $order.id, job: $charge.id}`

beforeAll(async () => {
  db = await createTestDatabase()
  await db.admin.query(`
    create schema commerce;
    create table commerce."order" (
      id uuid primary key default gen_random_uuid(), customer_id uuid, total numeric, quantity integer, status text default 'new',
      note text, placed_at timestamptz, meta jsonb, tags text[], is_paid boolean, revision integer, charge_id text);
    grant usage on schema commerce to ergon_enqueue;
    grant select, insert on commerce."order" to ergon_enqueue`)
  await db.admin.query(compileTexts([orderWith(STEPS, { params: '{total: numeric, note: text}' })]))
})
afterEach(() => runners.stop())
afterAll(() => db.drop())

const TRACEPARENT = `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`

async function placeOrder(tenant: string): Promise<{ order: string; job: string }> {
  return inTransaction(db.as('ergon_enqueue'), async (transaction) => {
    await transaction.query(
      `select set_config('ergon.tenant_id', $1, true), set_config('ergon.traceparent', $2, true)`,
      [tenant, TRACEPARENT],
    )
    return Object(await scalar(transaction, `select commerce.act(10, 'c')`))
  })
}

/** Ends a job as an external worker does. */
async function end(job: string, statement: string, value: string): Promise<void> {
  await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [job])
  await db.as('ergon_enqueue').query(statement, [job, value])
}

const orderRow = async (id: string) => {
  const { rows } = await db.admin.query('select * from commerce."order" where id = $1', [id])
  return Object(rows[0])
}

it('a success updates the row by typed output and calls the next service, for the same tenant', async () => {
  const tenant = randomUUID()
  const { order, job } = await placeOrder(tenant)
  const output = `{"charge_id": "ch_'1", "fee": 1.2345678901234567890, "detail": {"paid": true, "attempts": 2}, "raw": [1, {"a": null}]}`
  await end(job, 'select jobs.complete_job_successfully($1, $2::jsonb)', output)
  runners.start()
  await settled(db, job)
  expect(await orderRow(order)).toMatchObject({
    status: 'paid',
    charge_id: "ch_'1",
    total: '1.2345678901234567890',
    is_paid: true,
    quantity: 2,
    meta: [1, { a: null }],
  })
  const { rows } = await db.admin.query(
    `select id from jobs.tb_job_run where entity_pk = $1 and service_name = 'mail'`,
    [order],
  )
  expect(rows).toHaveLength(1)
  expect(await readRow(db.admin, String(Object(rows[0]).id))).toMatchObject({
    tenant_id: tenant,
    traceparent: TRACEPARENT,
    input_data: { text: "paid ch_'1", charge: job },
    identifier: `Order_${order}_mail_send`,
  })
})

it('a failure has the message, whatever it holds, also when the job is gone', async () => {
  const { order, job } = await placeOrder(randomUUID())
  const message = `'); drop table commerce."order"; -- $$ \u{1F600}`
  await end(job, 'select jobs.fail_job($1, $2)', message)
  await db.admin.query('delete from jobs.tb_job_run where id = $1', [job])
  runners.start()
  await settled(db, job)
  expect(await orderRow(order)).toMatchObject({ status: 'failed', note: message })
})

it('one that raises leaves nothing of its effect, and is seen', async () => {
  const { order, job } = await placeOrder(randomUUID())
  await end(job, 'select jobs.complete_job_successfully($1, $2::jsonb)', '{"charge_id": "ch_2", "fee": 1000}')
  runners.start()
  await expect
    .poll(async () => (await owedFor(db, job))[0]?.['last_error'], { timeout: 20_000 })
    .toContain('the fee is too high')
  expect(await orderRow(order)).toMatchObject({ status: 'new', charge_id: null, total: '10' })
  // Run by nobody else than the role for it.
  const call = `select commerce.order_stripe_create_charge_success($1, '{}')`
  await expect(db.as('ergon_enqueue').query(call, [job])).rejects.toThrow('permission denied')
})
