import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { completeJob } from '../../src/queue/complete.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyQueue,
  emptyRecord,
  insertJob,
  readLive,
  registrationOf,
  scalar,
  startLimitedWorker,
  startWorker,
} from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
afterEach(() => emptyQueue(db.admin))

const asWorker = () => db.as('ergon_worker')
const sweep = () => promoteJobs(asWorker())
const stateOf = async (id: string) => (await readLive(db.admin, id))?.['state']

/** Runs `meanwhile` beside an open transaction of an application, which ends in a commit. */
async function inTransactionOf(
  role: 'ergon_enqueue' | 'ergon_worker',
  statements: string,
  meanwhile: (client: pg.PoolClient) => Promise<void>,
): Promise<void> {
  const client = await db.as(role).connect()
  try {
    await client.query(`begin; ${statements}`)
    await meanwhile(client)
    await client.query('commit')
  } finally {
    client.release(true)
  }
}

describe('the long transaction of an application', () => {
  it.each([
    ['cancels', `update jobs.tb_job_run set status = 'cancelled' where id = `],
    ['deletes', 'delete from jobs.tb_job_run where id = '],
  ])('that %s a running job keeps no job of anybody else from starting', async (_, statement) => {
    const worker = await startLimitedWorker(asWorker(), { maxConcurrent: 2 })
    for (let i = 0; i < 2; i++) await insertJob(db.admin)
    const [first, second] = await worker.claim()
    const next = await insertJob(db.admin)
    const later = await insertJob(db.admin)
    await inTransactionOf('ergon_enqueue', `${statement}'${first?.id}'`, async () => {
      await completeJob(asWorker(), { ...emptyRecord, id: second?.id ?? '', fence: second?.fence ?? '' })
      expect(await worker.claimOne()).toMatchObject({ id: next })
    })
    await sweep()
    expect(await worker.claimOne()).toMatchObject({ id: later })
  })

  it('that reads one snapshot can cancel a running job while others of its service move', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxConcurrent: 1 })
    const running = await insertJob(db.admin)
    await worker.claimOne()
    const next = await insertJob(db.admin)
    await inTransactionOf(
      'ergon_enqueue',
      'set transaction isolation level repeatable read; select count(*) from jobs.tb_job_run',
      async (client) => {
        await db.admin.query(`update jobs.tb_job_queue set priority = priority where job_id = $1`, [next])
        await client.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [running])
      },
    )
    await sweep()
    expect(await worker.claimOne()).toMatchObject({ id: next })
  })
})

it('a gate of an application does not pass for one of a service', async () => {
  const worker = await startLimitedWorker(asWorker(), { maxConcurrent: 1 })
  await insertJob(db.admin)
  const running = await worker.claimOne()
  const next = await insertJob(db.admin)
  await expect(
    insertJob(db.as('ergon_enqueue'), { service_name: 'other', gate: 'limit:stripe', priority: -32_768 }),
  ).rejects.toMatchObject({ code: 'JB011' })
  await completeJob(asWorker(), { ...emptyRecord, id: running.id, fence: running.fence })
  expect(await worker.claimOne()).toMatchObject({ id: next })
})

it('a registry that drops one service and changes another locks no claim dead', async () => {
  const limits = (maxConcurrent: number) =>
    ['alpha', 'zeta'].map((service) => registrationOf({ service, maxConcurrent }))
  const [reloading, other] = [await startWorker(asWorker()), await startWorker(asWorker())]
  await registerServices(asWorker(), other.id, limits(5))
  await registerServices(asWorker(), reloading.id, limits(3))
  // As a claim that has locked the first of two services and comes to the second.
  const client = await db.admin.connect()
  try {
    await client.query(`begin; select from jobs.tb_service where service = 'alpha' for update`)
    const reloaded = registerServices(asWorker(), reloading.id, [
      registrationOf({ service: 'alpha', maxConcurrent: 2 }),
    ]).then(() => 'told')
    while ((await scalar(db.admin, 'select count(*)::int from pg_locks where not granted')) === 0);
    await client.query(
      `set local lock_timeout = '500ms'; select from jobs.tb_service where service = 'zeta' for update`,
    )
    await client.query('commit')
    expect(await reloaded).toBe('told')
  } finally {
    client.release(true)
  }
  const { rows } = await db.admin.query('select service, max_concurrent from jobs.tb_service order by service')
  expect(rows).toEqual([
    { service: 'alpha', max_concurrent: 2 },
    { service: 'zeta', max_concurrent: 5 },
  ])
})

it('a worker that says what is known already waits for no claim', async () => {
  const [first, second] = [await startLimitedWorker(asWorker(), { maxConcurrent: 1 }), await startWorker(asWorker())]
  await inTransactionOf('ergon_worker', '', async (client) => {
    await insertJob(db.admin)
    await client.query('select id from jobs.claim_jobs($1, $2, $3, $4)', [first.id, ['http'], [1], ['stripe']])
    const told = registerServices(asWorker(), second.id, [registrationOf({ maxConcurrent: 1 })]).then(() => 'told')
    expect(await Promise.race([told, scalar(db.admin, `select 'waits' from pg_sleep(1)`)])).toBe('told')
  })
})

it('a clock that is set back closes no rate for longer than its window', async () => {
  const worker = await startLimitedWorker(asWorker(), { rateLimitPerMinute: 1, maxInvocationsPerHour: 1 })
  const ids = [await insertJob(db.admin), await insertJob(db.admin)]
  await worker.claimOne()
  const shift = (seconds: number) =>
    db.admin.query(
      `update jobs.tb_service set second_buckets = array(select b + $1::int from unnest(second_buckets) b),
                                  minute_buckets = array(select b + $1::int / 60 from unnest(minute_buckets) b)`,
      [seconds],
    )
  // It started while the clock was a year ahead.
  await shift(31_536_000)
  await sweep()
  expect(await worker.claim()).toEqual([])
  expect(await stateOf(ids[1] ?? '')).toBe('gated')
  await shift(-3_720)
  await sweep()
  expect(await worker.claimOne()).toMatchObject({ id: ids[1] })
})

describe('many of something', () => {
  it('services with limits and no jobs cost a claim nothing', async () => {
    const names = Array.from({ length: 2_000 }, (_, index) => `service-${index}`)
    const worker = await startWorker(asWorker())
    await registerServices(
      asWorker(),
      worker.id,
      names.map((service) => registrationOf({ service, maxConcurrent: 5 })),
    )
    const client = await db.admin.connect()
    try {
      const claim = `select id from jobs.claim_jobs('${worker.id}', '{http}', '{10}', '{${names.join(',')}}')`
      // The first call of a session also reads the catalogue and plans.
      await client.query(claim)
      const { rows } = await client.query(`explain (analyze, buffers, format json) ${claim}`)
      const plan = rows[0]['QUERY PLAN'][0].Plan
      expect(plan['Shared Hit Blocks'] + plan['Shared Read Blocks']).toBeLessThan(500)
    } finally {
      client.release()
    }
  })

  it('queues that nobody serves are opened by the sweep alone, not by each job that ends', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxConcurrent: 1 })
    await insertJob(db.admin)
    const running = await worker.claimOne()
    const [served, unserved] = [await insertJob(db.admin), await insertJob(db.admin, { queue: 'nobody' })]
    await completeJob(asWorker(), { ...emptyRecord, id: running.id, fence: running.fence })
    expect([await stateOf(served), await stateOf(unserved)]).toEqual(['ready', 'gated'])
    await sweep()
    expect(await stateOf(unserved)).toBe('ready')
  })
})
