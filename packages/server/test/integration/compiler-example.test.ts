import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest'
import { compileTexts } from '../../src/compiler/compiler.fixture.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { settled, TestRunners } from './callback-fixture.ts'
import { scalar } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
  await db.admin.query(`
    create schema commerce;
    create table commerce."order" (
      id uuid primary key default gen_random_uuid(), customer_id uuid, total numeric(12,2), payment_status text,
      charge_id text);
    grant usage on schema commerce to ergon_enqueue;
    grant select, insert, update on all tables in schema commerce to ergon_enqueue`)
})
afterAll(() => db.drop())

const runners = new TestRunners(() => db)
afterEach(() => runners.stop())

const readOrder = async (id: unknown) =>
  Object((await db.admin.query('select * from commerce."order" where id = $1', [id])).rows[0])
const jobOf = async (order: unknown, service: string) =>
  String(
    await scalar(db.admin, 'select id from jobs.tb_job_run where entity_pk = $1 and lower(service_name) = $2', [
      order,
      service,
    ]),
  )

/** Ends a job as an external worker does. */
async function end(job: string, how: { output: string } | { error: string }): Promise<void> {
  await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [job])
  if ('output' in how) await db.admin.query('select jobs.complete_job_successfully($1, $2)', [job, how.output])
  else await db.admin.query(`select jobs.fail_job($1, $2)`, [job, how.error])
}

it('the example of the documentation places an order, charges it once and hears how that went', async () => {
  const page = await readFile(new URL('../../../../docs/compiler.md', import.meta.url), 'utf8')
  const [, example = ''] = /```yaml\n([^]*?)```/.exec(page) ?? []
  await db.admin.query(compileTexts([example]))
  const place = (total: string) =>
    scalar(db.as('ergon_enqueue'), 'select commerce.place_order($1, $2)', [randomUUID(), total])
  await expect(place('0')).rejects.toThrow('an order needs a total')
  const [paid, failed] = [await place('12.50'), await place('13')]
  runners.start()
  const [first, second] = [await jobOf(paid, 'stripe'), await jobOf(failed, 'stripe')]
  await end(first, { output: `{"charge_id": "ch_1'; $$ --"}` })
  await end(second, { error: `card 'declined'` })
  await Promise.all([settled(db, first), settled(db, second)])
  expect(await readOrder(paid)).toMatchObject({ payment_status: 'paid', charge_id: `ch_1'; $$ --`, total: '12.50' })
  expect(await readOrder(failed)).toMatchObject({ payment_status: 'failed', charge_id: null })
})

it('nobody but the runner of callbacks may call one', async () => {
  await expect(
    db.as('ergon_enqueue').query(`select commerce.order_stripe_create_charge_success($1, '{}')`, [randomUUID()]),
  ).rejects.toMatchObject({ message: expect.stringContaining('permission denied for function') })
})
