import { describe, expect, it } from 'vitest'
import { cancelJob } from '../../src/queue/cancel.ts'
import { retryCallback } from '../../src/queue/callbacks.ts'
import { retryJob } from '../../src/queue/retry.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import {
  both,
  createFunction,
  effectsOf,
  endJob,
  newEntity,
  openShop,
  owedFor,
  register,
  settled,
  statesOf,
} from './callback-fixture.ts'
import { insertJob } from './queue-fixture.ts'

let db: TestDatabase
const runners = openShop((opened) => {
  db = opened
})

describe('an owed callback', () => {
  it('runs once, with the job’s id and its output as it was stored', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity, { amount: 1, deep: [{ text: `it's "quoted" \\ 🎉` }] })
    runners.start()
    await settled(db, id)
    expect(await effectsOf(db, id)).toEqual([
      { what: 'paid', jobId: id, value: { amount: 1, deep: [{ text: `it's "quoted" \\ 🎉` }] } },
    ])
  })

  it('of a failure gets the error message, of a cancellation a word of ours', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const failed = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [failed])
    await db.as('ergon_enqueue').query(`select jobs.fail_job($1, 'card declined')`, [failed])
    const cancelled = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    await cancelJob(db.as('ergon_enqueue'), cancelled)
    runners.start()
    await settled(db, failed)
    await settled(db, cancelled)
    expect(await effectsOf(db, failed)).toMatchObject([{ what: 'declined', value: 'card declined' }])
    expect(await effectsOf(db, cancelled)).toMatchObject([
      { what: 'declined', value: 'CANCELLED: the job was cancelled' },
    ])
  })

  it('runs as ergon_callback, with the job’s tenant, user and entity in the settings', async () => {
    await createFunction(
      db,
      'who',
      `insert into shop.effects (what, job_id, value) values ('who', _job_run_id, jsonb_build_object(
         'role', current_user, 'session', session_user, 'tenant', current_setting('ergon.tenant_id'), 'user', current_setting('ergon.user_id'), 'pk', current_setting('ergon.entity_pk')))`,
    )
    const entity = newEntity()
    await register(db.admin, entity, { success: 'who' })
    const tenant_id = '11111111-1111-1111-1111-111111111111'
    const triggered_by = '22222222-2222-2222-2222-222222222222'
    const id = await insertJob(db.as('ergon_enqueue'), {
      entity_type: entity,
      entity_pk: '42',
      tenant_id,
      triggered_by,
    })
    await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [id])
    await db.as('ergon_enqueue').query(`select jobs.complete_job_successfully($1, null)`, [id])
    runners.start()
    await settled(db, id)
    expect(await effectsOf(db, id)).toMatchObject([
      { value: { role: 'ergon_callback', session: 'ergon_callback', tenant: tenant_id, user: triggered_by, pk: '42' } },
    ])
  })

  it('may act as a role of the application, and put the next job into the queue', async () => {
    await createFunction(
      db,
      'next_job',
      `insert into jobs.tb_job_run (identifier, service_name, operation, entity_type) values ('after ' || _job_run_id, 'stripe', 'refund', current_user)`,
    )
    await db.admin.query(
      'alter function shop.next_job security definer set search_path = pg_catalog, pg_temp; alter function shop.next_job owner to ergon_enqueue',
    )
    const entity = newEntity()
    await register(db.admin, entity, { success: 'next_job' })
    const id = await endJob(db, entity)
    runners.start()
    await settled(db, id)
    const { rows } = await db.admin.query('select entity_type from jobs.tb_job_run where identifier = $1', [
      `after ${id}`,
    ])
    expect(rows).toEqual([{ entity_type: 'ergon_enqueue' }])
  })

  it('calls what is registered when it runs', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    await createFunction(db, 'instead', `insert into shop.effects (what, job_id) values ('instead', _job_run_id)`)
    await register(db.admin, entity, { success: 'instead' })
    runners.start()
    await settled(db, id)
    expect(await effectsOf(db, id)).toMatchObject([{ what: 'instead' }])
  })

  it('waits while nothing is registered for it, and runs when something is', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    await register(db.admin, entity)
    const runner = runners.start()
    const other = newEntity()
    await register(db.admin, other, both)
    await settled(db, await endJob(db, other))
    expect(await owedFor(db, id)).toMatchObject([{ state: 'unregistered', attempts: 0 }])
    await register(db.admin, entity, both)
    runner.wake()
    await settled(db, id)
    expect(await effectsOf(db, id)).toMatchObject([{ what: 'paid' }])
  })

  it('of an outcome that was retried comes before that of the next one', async () => {
    const entity = newEntity()
    await createFunction(db, 'late', `insert into shop.effects (what, job_id) values ('late', _job_run_id)`)
    await register(db.admin, entity, { success: 'late', failure: 'declined' })
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    const external = db.as('ergon_enqueue')
    await external.query('select jobs.mark_job_started($1)', [id])
    await external.query(`select jobs.fail_job($1, 'first')`, [id])
    await retryJob(db.as('ergon_enqueue'), id)
    await external.query('select jobs.mark_job_started($1)', [id])
    await external.query(`select jobs.complete_job_successfully($1, '{}')`, [id])
    const [first, second] = await owedFor(db, id)
    expect(second).toMatchObject({ outcome: 'success', waits_for: first?.['callback_id'] })
    runners.start()
    await settled(db, id)
    expect((await effectsOf(db, id)).map(({ what }) => what)).toEqual(['declined', 'late'])
  })

  it('outlives its job', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    await db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [id])
    runners.start()
    await settled(db, id)
    expect(await effectsOf(db, id)).toMatchObject([{ what: 'paid' }])
  })
})

describe('a callback that fails', () => {
  it('leaves nothing of its effect, is seen with its error, and is tried again', async () => {
    await createFunction(
      db,
      'picky',
      `insert into shop.effects (what, job_id) values ('picky', _job_run_id);
       if to_regclass('shop.open') is null then raise exception 'the shop is closed'; end if`,
    )
    const entity = newEntity()
    await register(db.admin, entity, { success: 'picky' })
    const id = await endJob(db, entity)
    runners.start()
    await expect
      .poll(() => owedFor(db, id), { timeout: 20_000 })
      .toMatchObject([{ last_error: 'the shop is closed (P0001)' }])
    expect(await effectsOf(db, id)).toEqual([])
    await db.admin.query('create table shop.open ()')
    // Without being asked: its next attempt is a second away at most.
    await settled(db, id)
    expect(await effectsOf(db, id)).toHaveLength(1)
  })

  it('is put aside after its last attempt, and runs when it is asked for again', async () => {
    await createFunction(
      db,
      'broken',
      `if to_regclass('shop.fixed') is null then raise exception 'broken'; end if;
       insert into shop.effects (what, job_id) values ('fixed', _job_run_id)`,
    )
    const entity = newEntity()
    await register(db.admin, entity, { success: 'broken' })
    const id = await endJob(db, entity)
    await db.admin.query('update jobs.tb_job_callback set max_attempts = 1 where job_id = $1', [id])
    const runner = runners.start()
    await expect.poll(() => statesOf(db, id), { timeout: 20_000 }).toEqual(['failed'])
    await db.admin.query('create table shop.fixed ()')
    const [owed] = await owedFor(db, id)
    expect(owed).toMatchObject({ attempts: 1, last_error: 'broken (P0001)', failed_at: expect.any(Date) })
    expect(await retryCallback(db.admin, String(owed?.['callback_id']))).toBe('queued')
    runner.wake()
    await settled(db, id)
    expect(await effectsOf(db, id)).toMatchObject([{ what: 'fixed' }])
    expect(await retryCallback(db.admin, String(owed?.['callback_id']))).toBe('not_found')
  })

  it('since its function is gone says so, and runs once that is back', async () => {
    await createFunction(db, 'vanishing', 'null')
    const entity = newEntity()
    await register(db.admin, entity, { success: 'vanishing' })
    await db.admin.query('drop function shop.vanishing')
    const id = await endJob(db, entity)
    runners.start()
    await expect
      .poll(() => owedFor(db, id), { timeout: 20_000 })
      .toMatchObject([{ last_error: 'the function shop.vanishing(uuid, jsonb) does not exist any more (42883)' }])
    await createFunction(db, 'vanishing', `insert into shop.effects (what, job_id) values ('back', _job_run_id)`)
    await settled(db, id)
    expect(await effectsOf(db, id)).toHaveLength(1)
  })

  it('at its commit has failed too', async () => {
    await db.admin.query(`
      create table shop.parents (id integer primary key);
      create table shop.children (parent integer references shop.parents deferrable initially deferred);
      grant insert on shop.children to ergon_callback`)
    await createFunction(db, 'orphan', 'insert into shop.children values (1)')
    const entity = newEntity()
    await register(db.admin, entity, { success: 'orphan' })
    const id = await endJob(db, entity)
    runners.start()
    await expect
      .poll(() => owedFor(db, id), { timeout: 20_000 })
      .toMatchObject([{ last_error: expect.stringContaining('violates foreign key constraint') }])
  })
})
