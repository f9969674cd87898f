import { beforeAll, describe, expect, it } from 'vitest'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import { both, endJob, newEntity, openShop, owedFor, register } from './callback-fixture.ts'
import { emptyRecord, insertJob, readRow, someFailure, startWorker, type TestWorker } from './queue-fixture.ts'

let db: TestDatabase
openShop((opened) => {
  db = opened
})
let worker: TestWorker
beforeAll(async () => {
  worker = await startWorker(db.as('ergon_worker'))
})

const fail = (id: string, fence: string, retryDelayMs: number | null) =>
  failJob(db.as('ergon_worker'), { ...emptyRecord, id, fence, failure: someFailure, retryDelayMs })

describe('a final outcome of a job whose entity, service and operation are registered', () => {
  it.each([
    ['stripe', 'charge'],
    ['STRIPE', 'Charge'],
  ])('owes on_success when a worker completes it (%s.%s)', async (service_name, operation) => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const tenant = '11111111-1111-1111-1111-111111111111'
    const id = await insertJob(db.as('ergon_enqueue'), {
      entity_type: entity,
      service_name,
      operation,
      tenant_id: tenant,
    })
    const { fence } = await worker.claimOne()
    expect(await owedFor(db, id)).toEqual([])
    await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence, outputJson: '{"charge_id": "ch_1"}' })
    expect(await owedFor(db, id)).toMatchObject([
      { outcome: 'success', state: 'waiting', callback_function: 'shop.paid', attempts: 0, tenant_id: tenant },
    ])
  })

  it('owes on_failure once, when no attempt is left', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity, max_attempts: 2 })
    const { fence } = await worker.claimOne()
    expect(await fail(id, fence, 0)).toBe('retried')
    expect(await owedFor(db, id)).toEqual([])
    await db.as('ergon_worker').query('select jobs.promote_jobs()')
    const again = await worker.claimOne()
    expect(await fail(id, again.fence, 0)).toBe('failed')
    expect(await owedFor(db, id)).toMatchObject([{ outcome: 'failure', callback_function: 'shop.declined' }])
  })

  it('owes on_failure when its worker is lost for good', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const lost = await startWorker(db.as('ergon_worker'), { lanes: ['lost'] })
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity, execution_type: 'lost' })
    await lost.claimOne()
    await db.admin.query('delete from jobs.tb_job_worker where worker_id = $1', [lost.id])
    await rescueJobs(db.as('ergon_worker'))
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'failed', failure_code: 'WORKER_LOST' })
    expect(await owedFor(db, id)).toMatchObject([{ outcome: 'failure' }])
  })

  it('owes on_failure when it is cancelled, by function or by UPDATE, pending or running', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const columns = { entity_type: entity, execution_type: 'nobody' }
    const byFunction = await insertJob(db.as('ergon_enqueue'), columns)
    await cancelJob(db.as('ergon_enqueue'), byFunction)
    const byUpdate = await insertJob(db.as('ergon_enqueue'), { ...columns, execution_type: 'http' })
    await worker.claimOne()
    await db
      .as('ergon_enqueue')
      .query(`update jobs.tb_job_run set status = 'cancelled' where id = any ($1)`, [[byUpdate]])
    for (const id of [byFunction, byUpdate]) expect(await owedFor(db, id)).toMatchObject([{ outcome: 'failure' }])
  })

  it('owes them for the functions of external workers', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const completed = await endJob(db, entity)
    const failed = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [failed])
    await db.as('ergon_enqueue').query(`select jobs.fail_job($1, 'card declined')`, [failed])
    // Said twice: the second word changes nothing.
    await db.as('ergon_enqueue').query(`select jobs.fail_job($1, 'again')`, [failed])
    expect(await owedFor(db, completed)).toMatchObject([{ outcome: 'success' }])
    expect(await owedFor(db, failed)).toMatchObject([{ outcome: 'failure' }])
  })

  it('owes nothing when the transaction that records it is rolled back', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    const client = await db.as('ergon_enqueue').connect()
    await client.query('begin')
    await client.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id])
    await client.query('rollback')
    client.release()
    expect(await owedFor(db, id)).toEqual([])
    await worker.claimOne()
  })
})

describe('nothing is owed', () => {
  it.each([
    ['for a job of no entity', () => null],
    ['for another entity', newEntity],
  ])('%s', async (_what, entityOf) => {
    await register(db.admin, newEntity(), both)
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entityOf() })
    await cancelJob(db.as('ergon_enqueue'), id)
    expect(await owedFor(db, id)).toEqual([])
  })

  it('for an outcome without a function, or after both were withdrawn', async () => {
    const entity = newEntity()
    await register(db.admin, entity, { failure: 'declined' })
    expect(await owedFor(db, await endJob(db, entity))).toEqual([])
    await register(db.admin, entity, both)
    await register(db.admin, entity)
    expect(await owedFor(db, await endJob(db, entity))).toEqual([])
  })

  it('for a row that comes in as completed', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity, status: 'completed' })
    expect(await owedFor(db, id)).toEqual([])
  })
})

it('records an outcome although the registered function is gone', async () => {
  const entity = newEntity()
  await db.admin.query(
    'create function shop.gone(uuid, jsonb) returns void language sql as $$ select $$; grant execute on function shop.gone to ergon_callback',
  )
  await register(db.admin, entity, { success: 'gone' })
  await db.admin.query('drop function shop.gone')
  expect(await owedFor(db, await endJob(db, entity))).toMatchObject([{ callback_function: 'shop.gone' }])
})

describe('a registration is refused', () => {
  beforeAll(async () => {
    await db.admin.query(`
      create function shop.one(uuid) returns void language sql as $$ select $$;
      create function shop.many(uuid, jsonb) returns setof integer language sql as $$ select 1 $$;
      create procedure shop.proc(uuid, jsonb) language sql as $$ select $$;
      create function shop.closed(uuid, jsonb) returns void language sql as $$ select $$;
      revoke execute on function shop.closed from public;
      create schema vault;
      create function vault.paid(uuid, jsonb) returns void language sql as $$ select $$`)
  })

  it.each([
    [`on_success => 'shop.one(uuid)'`, /shop\.one\(uuid\) is not a function with the parameters \(uuid, jsonb\)/],
    [`on_success => 'shop.declined(uuid, text)'`, /parameters \(uuid, jsonb\)/],
    [`on_failure => 'shop.paid(uuid, jsonb)'`, /parameters \(uuid, text\)/],
    [`on_success => 'shop.many(uuid, jsonb)'`, /returns one value or void/],
    [`on_success => 'shop.proc(uuid, jsonb)'`, /is not a function/],
    [`on_success => 'shop.closed(uuid, jsonb)'`, /cannot be called by the role ergon_callback/],
    [`on_success => 'vault.paid(uuid, jsonb)'`, /may not use the schema vault/],
    [`on_success => 'jobs.fail_job(uuid, text)'`, /parameters/],
    [`on_failure => 'jobs.fail_job(uuid, text)'`, /is in the schema jobs/],
    [`on_success => 999999::regprocedure`, /does not exist/],
  ])('%s', async (functions, message) => {
    await expect(
      db.admin.query(`select jobs.register_callbacks('Order', 'stripe', 'charge', ${functions})`),
    ).rejects.toMatchObject({ code: 'CALLBACK_INVALID', message: expect.stringMatching(message) })
  })

  it.each([[`null, 'stripe', 'charge'`], [`'Order', '', 'charge'`], [`'Order', 'stripe', repeat('x', 201)`]])(
    'of %s',
    async (names) => {
      await expect(db.admin.query(`select jobs.register_callbacks(${names})`)).rejects.toMatchObject({
        code: 'CALLBACK_INVALID',
      })
    },
  )
})
