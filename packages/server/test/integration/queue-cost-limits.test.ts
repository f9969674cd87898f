import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { explainWait } from '../../src/control/explain-wait.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyQueue,
  emptyRecord,
  insertJob,
  registrationOf,
  scalar,
  someFailure,
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
const insertMany = (count: number) => Promise.all(Array.from({ length: count }, () => insertJob(db.admin)))
const spent = () => scalar(db.admin, 'select coalesce(sum(cost_usd), 0)::float from jobs.tb_service_cost')
const costing = (cost: unknown) =>
  ({ ...emptyRecord, resourceUsage: { cost_estimate_usd: cost } }) as typeof emptyRecord
const complete = ({ id, fence }: ClaimedJob, cost: unknown) => completeJob(asWorker(), { ...costing(cost), id, fence })
/** As after so many minutes. */
const age = (minutes: number) => db.admin.query(`update jobs.tb_service_cost set minute = minute - ${minutes}`)

describe('max_cost_per_hour', () => {
  it('starts nothing more once what ended has cost as much, says so, and goes on an hour later', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxCostPerHour: 0.5 })
    await insertMany(6)
    const [first, second, third] = await worker.claim(3)
    await complete(first as ClaimedJob, 0.25)
    expect(await worker.claim(1)).toHaveLength(1)
    // What runs when the limit is reached is beyond it.
    await complete(second as ClaimedJob, 0.25)
    await complete(third as ClaimedJob, 0.5)
    expect(await worker.claim()).toEqual([])
    const waiting = String(await scalar(db.admin, `select id from jobs.tb_job_run where status = 'pending' limit 1`))
    const wait = await explainWait(db.admin, waiting)
    expect(wait).toMatchObject({ gate: 'limit:stripe', reason: 'max_cost_per_hour 0.5: an estimated 1 spent' })
    const minutes = ((wait?.until ?? new Date(0)).getTime() - Date.now()) / 60_000
    expect(minutes).toBeGreaterThan(58)
    expect(minutes).toBeLessThan(62)
    // A minute may begin meanwhile.
    await age(59)
    await promoteJobs(asWorker())
    expect(await worker.claim()).toEqual([])
    await age(2)
    await promoteJobs(asWorker())
    expect(await worker.claim()).toHaveLength(2)
  })

  it('of 0 starts nothing', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxCostPerHour: 0 })
    const id = await insertJob(db.admin)
    expect(await worker.claim()).toEqual([])
    expect(await explainWait(db.admin, id)).toMatchObject({
      reason: 'max_cost_per_hour 0: an estimated 0 spent',
      until: null,
    })
  })

  it('counts what failed too, each attempt once, whether it is tried again or not', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxCostPerHour: 100 })
    await insertMany(2)
    const fail = async (delayMs: number | null) => {
      const job = await worker.claimOne()
      await failJob(asWorker(), {
        ...{ ...costing(2), id: job.id, fence: job.fence },
        ...{ failure: someFailure, retryDelayMs: delayMs },
      })
    }
    await fail(null)
    expect(await spent()).toBe(2)
    await fail(0)
    expect(await spent()).toBe(4)
  })

  it.each(['1e400', '-5', '"0.25"', '"NaN"', '{}', 'null', 'true'])(
    'a worker that reports %s has its job recorded',
    async (json) => {
      const worker = await startLimitedWorker(asWorker(), { maxCostPerHour: 1 })
      await insertJob(db.admin)
      const { id, fence } = await worker.claimOne()
      await db.admin.query(
        `select jobs.complete_jobs(array[$1::uuid], array[$2::uuid], array['{}'], array[$3], array[null], array[null],
                                   array[null], array[null], array[null])`,
        [id, fence, `{"cost_estimate_usd": ${json}}`],
      )
      expect(await scalar(db.admin, 'select status from jobs.tb_job_run')).toBe('completed')
      expect(await spent()).toBe(json === '1e400' ? 1_000_000 : 0)
    },
  )

  it('keeps no cost of a service without the limit', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxConcurrent: 5 })
    await insertJob(db.admin)
    await complete(await worker.claimOne(), 3)
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_service_cost')).toBe(0)
  })

  it('is summed up by the sweep, and forgotten after its hour', async () => {
    const worker = await startLimitedWorker(asWorker(), { maxCostPerHour: 100 })
    await insertMany(5)
    for (const job of await worker.claim()) await complete(job, 0.1)
    const rows = () => scalar(db.admin, 'select count(*)::int from jobs.tb_service_cost')
    expect(await rows()).toBe(5)
    await promoteJobs(asWorker())
    // Two, where a minute began between them.
    expect(await rows()).toBeLessThan(3)
    expect(await spent()).toBeCloseTo(0.5)
    // A clock that was ahead: taken for just now.
    await age(-1_000)
    await promoteJobs(asWorker())
    expect(await scalar(db.admin, `select jobs.cost_of_last_hour('stripe', now())::float`)).toBeCloseTo(0.5)
    await age(70)
    await promoteJobs(asWorker())
    expect(await rows()).toBe(0)
  })

  it('is the strictest word of those that live; workers of the version before have none', async () => {
    await startLimitedWorker(asWorker(), { maxCostPerHour: 5 })
    const strict = await startLimitedWorker(asWorker(), { maxCostPerHour: 2.5 })
    const older = await startWorker(asWorker())
    await asWorker().query(`select jobs.register_services($1, '{stripe}', '{http}', '{null}', '{null}', '{null}')`, [
      older.id,
    ])
    const limit = () => scalar(db.admin, 'select max_cost_per_hour::float from jobs.tb_service')
    expect(await limit()).toBe(2.5)
    await registerServices(asWorker(), strict.id, [registrationOf({ maxCostPerHour: null })])
    expect(await limit()).toBe(5)
  })
})

describe('what keeps workers from registering and sweeping', () => {
  it('is no lock that any role may take', async () => {
    const worker = await startWorker(asWorker())
    const other = await db.as('ergon_enqueue').connect()
    try {
      await other.query('begin')
      for (const key of ['ergon.services', 'ergon.gates', 'ergon.rescue', 'ergon.audit.seal'])
        await other.query('select pg_advisory_xact_lock(hashtextextended($1, 0))', [key])
      await registerServices(asWorker(), worker.id, [registrationOf({ maxConcurrent: 1 })])
      await insertMany(2)
      expect(await worker.claim()).toHaveLength(1)
      await db.admin.query(`update jobs.tb_job_worker set heartbeat_at = now() - interval '1 hour'`)
      expect(await rescueJobs(asWorker())).toMatchObject({ failed: 1 })
      await promoteJobs(asWorker())
      expect(await scalar(db.admin, `select count(*)::int from jobs.tb_job_queue where state = 'ready'`)).toBe(1)
    } finally {
      other.release(true)
    }
  })

  it('is none but the bells, which sessions hold', async () => {
    const { rows } = await db.admin.query(
      `select proname from pg_proc where pronamespace = 'jobs'::regnamespace and prosrc ~ 'advisory' order by 1`,
    )
    expect(rows).toEqual([{ proname: 'ring_lane' }, { proname: 'tg_ring_ends' }])
  })

  it.each(['ergon_enqueue', 'ergon_api', 'ergon_worker', 'ergon_callback'] as const)(
    'is no row that %s may lock',
    async (role) => {
      for (const statement of [
        'select from jobs.tb_mutex for key share',
        'do $$ begin lock table jobs.tb_mutex in access share mode; end $$',
      ])
        await expect(db.as(role).query(statement)).rejects.toMatchObject({ code: '42501' })
    },
  )

  it('is not how many services a worker knows: more than 10000 are refused', async () => {
    const worker = await startWorker(asWorker())
    const services = Array.from({ length: 10_001 }, (_, index) => ({ ...registrationOf({}), service: `s${index}` }))
    await expect(registerServices(asWorker(), worker.id, services)).rejects.toMatchObject({
      code: 'TOO_MANY_SERVICES',
      message: expect.stringContaining('registers 10001 services, at most 10000 are taken'),
    })
    await registerServices(asWorker(), worker.id, services.slice(1))
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_service')).toBe(10_000)
    await expect(registerServices(asWorker(), randomUUID(), [])).rejects.toMatchObject({
      code: 'WORKER_UNKNOWN',
    })
  })
})
