import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { ServiceRegistration } from '../../src/domain/service-registration.ts'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import { releaseJobs } from '../../src/queue/release.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyQueue,
  emptyRecord,
  insertJob,
  readLive,
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
const asApi = () => db.admin

const limitedWorker = (limit: Partial<ServiceRegistration>, options?: Parameters<typeof startWorker>[1]) =>
  startLimitedWorker(asWorker(), limit, options)
const insertMany = (count: number) => Promise.all(Array.from({ length: count }, () => insertJob(db.admin)))
const complete = ({ id, fence }: ClaimedJob) => completeJob(asWorker(), { ...emptyRecord, id, fence })
const fail = ({ id, fence }: ClaimedJob, retryDelayMs: number | null) =>
  failJob(asWorker(), { ...emptyRecord, id, fence, failure: someFailure, retryDelayMs })
const sweep = () => promoteJobs(asWorker())
const countState = (state: string) =>
  scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue where state = $1', [state])
/** Makes what has started lately look so much older. */
const letTimePass = (seconds: number) =>
  db.admin.query(
    `update jobs.tb_service set second_buckets = array(select b - $1::int from unnest(second_buckets) b),
                                minute_buckets = array(select b - $1::int / 60 from unnest(minute_buckets) b)`,
    [seconds],
  )

describe('max_concurrent', () => {
  it('holds over workers that claim, end, cancel and delete jobs at once, and none is left behind', async () => {
    const services = ['alpha', 'beta', 'gamma']
    const allowed: Record<string, number> = { alpha: 1, beta: 3 }
    const registrations = services.map((service) =>
      registrationOf({ service, maxConcurrent: allowed[service] ?? null }),
    )
    const running = new Map(services.map((service) => [service, 0]))
    const most = new Map(running)
    const ids: string[] = []
    for (const service_name of services)
      for (let i = 0; i < 40; i++) ids.push(await insertJob(db.as('ergon_enqueue'), { service_name, max_attempts: 50 }))
    const jobs = { left: ids.length }

    const end = async (job: ClaimedJob): Promise<void> => {
      await scalar(db.admin, 'select pg_sleep(random() * 0.01)')
      running.set(job.serviceName, (running.get(job.serviceName) ?? 0) - 1)
      const roll = Math.random()
      if (roll < 0.1) return void (await fail(job, 0))
      if (roll < 0.2) return void (await releaseJobs(asWorker(), [job]))
      jobs.left -= 1
      if (roll < 0.3) await cancelJob(asApi(), job.id)
      else if (roll < 0.4) {
        await db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [job.id])
        // A live row that somebody was just looking at outlives that until its worker lets go, as heartbeats do.
        await releaseJobs(asWorker(), [job])
      } else expect(await complete(job)).toBe(true)
    }
    const work = async (): Promise<void> => {
      const worker = await startWorker(asWorker())
      // The order differs from worker to worker: locks must not.
      await registerServices(asWorker(), worker.id, Math.random() < 0.5 ? registrations : registrations.toReversed())
      while (jobs.left > 0) {
        const claimed = await worker.claim(1 + Math.floor(Math.random() * 5), ['http'], services.toReversed())
        for (const { serviceName } of claimed) {
          running.set(serviceName, (running.get(serviceName) ?? 0) + 1)
          most.set(serviceName, Math.max(most.get(serviceName) ?? 0, running.get(serviceName) ?? 0))
        }
        await Promise.all(claimed.map(end))
        await sweep()
      }
    }
    await Promise.all(Array.from({ length: 6 }, work))
    expect(Object.fromEntries(most)).toMatchObject(allowed)
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue')).toBe(0)
  })

  it('counts the jobs of all lanes together, and jobs beyond it stand behind a gate', async () => {
    const worker = await limitedWorker({ maxConcurrent: 3 }, { lanes: ['http', 'http:bulk'] })
    for (let i = 0; i < 5; i++) {
      await insertJob(db.admin, { queue: 'bulk' })
      await insertJob(db.admin)
    }
    expect(await worker.claim()).toHaveLength(3)
    expect(await countState('ready')).toBe(0)
    const { rows } = await db.admin.query(`select distinct gate from jobs.tb_job_queue where state = 'gated'`)
    expect(rows).toEqual([{ gate: 'limit:stripe' }])
    expect(await worker.claim()).toEqual([])
  })

  it('leaves room to other services that stand behind it in the order', async () => {
    const worker = await limitedWorker({ maxConcurrent: 1 })
    for (let i = 0; i < 4; i++) await insertJob(db.admin, { priority: 1 })
    const other = await insertJob(db.admin, { service_name: 'executor', execution_type: 'http', queue: null })
    await db.admin.query(`update jobs.tb_job_queue set lane = 'http' where job_id = $1`, [other])
    expect((await worker.claim(2)).map(({ serviceName }) => serviceName).toSorted()).toEqual(['executor', 'stripe'])
  })

  const ends: Record<string, (job: ClaimedJob) => Promise<unknown>> = {
    'is completed': complete,
    fails: (job) => fail(job, null),
    'fails and is tried again later': (job) => fail(job, 60_000),
    'is cancelled by the function': ({ id }) => cancelJob(asApi(), id),
    'loses its worker': async () => {
      await db.admin.query(`update jobs.tb_job_worker set heartbeat_at = heartbeat_at - interval '1 h'`)
      await rescueJobs(asWorker())
    },
  }
  /** Each in a transaction that may be long: it touches no job that waits. */
  const endsByApplication: typeof ends = {
    'is cancelled by an application': ({ id }) =>
      db.as('ergon_enqueue').query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id]),
    'is deleted': ({ id }) => db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [id]),
    'is deleted and inserted again': async ({ id }) => {
      await db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [id])
      await insertJob(db.as('ergon_enqueue'), { id, run_at: new Date(Date.now() + 60_000) })
    },
  }
  const expectNextAfter = async (end: (job: ClaimedJob) => Promise<unknown>): Promise<void> => {
    const worker = await limitedWorker({ maxConcurrent: 1 })
    const ids = [await insertJob(db.admin), await insertJob(db.admin), await insertJob(db.admin)]
    const job = await worker.claimOne()
    expect(await worker.claim()).toEqual([])
    await end(job)
    expect(await countState('ready')).toBe(1)
    expect((await (await startWorker(asWorker())).claimOne()).id).toBe(ids[1])
  }
  it.each(Object.entries(ends))('lets the next one come when one %s, without waiting for the sweep', (_, end) =>
    expectNextAfter(end),
  )
  it.each(Object.entries(endsByApplication))('lets the next one come with the sweep when one %s', (_, end) =>
    expectNextAfter(async (job) => {
      await end(job)
      await sweep()
    }),
  )

  it('gives a job that is handed back its place, and counts no attempt', async () => {
    const worker = await limitedWorker({ maxConcurrent: 1 })
    const [first] = [await insertJob(db.admin), await insertJob(db.admin)]
    await releaseJobs(asWorker(), [await worker.claimOne()])
    expect(await worker.claimOne()).toMatchObject({ id: first, attempt: 1 })
  })

  it('lets a job that nothing keeps start at once, after a time without any', async () => {
    const worker = await limitedWorker({ maxConcurrent: 1 })
    for (let i = 0; i < 3; i++) {
      const id = await insertJob(db.admin)
      expect(await readLive(db.admin, id)).toMatchObject({ state: 'ready', gate: null })
      await complete(await worker.claimOne())
    }
  })

  it('makes a claim look at none of those that wait', async () => {
    const worker = await startWorker(asWorker())
    await registerServices(asWorker(), worker.id, [
      registrationOf({}),
      registrationOf({ service: 'foreign', maxConcurrent: 0 }),
    ])
    await db.as('ergon_enqueue').query(
      `insert into jobs.tb_job_run (identifier, service_name, operation, priority)
       select 'foreign-' || g, 'foreign', 'x', 1 from generate_series(1, 20000) g`,
    )
    const mine = await insertJob(db.admin)
    const client = await db.admin.connect()
    try {
      const claim = `select id from jobs.claim_jobs('${worker.id}', '{http}', '{10}', '{foreign,stripe}')`
      // The first call of a session also reads the catalogue and plans.
      await client.query(`begin; ${claim}; rollback`)
      const { rows } = await client.query(`explain (analyze, buffers, format json) ${claim}`)
      const plan = rows[0]['QUERY PLAN'][0].Plan
      expect(plan['Actual Rows']).toBe(1)
      // The rows that wait fill hundreds of pages.
      expect(plan['Shared Hit Blocks'] + plan['Shared Read Blocks']).toBeLessThan(150)
    } finally {
      client.release()
    }
    expect(await countState('gated')).toBe(20_000)
    expect(await scalar(db.admin, 'select status from jobs.tb_job_run where id = $1', [mine])).toBe('running')
  })

  it('keeps the order of priorities among those that wait', async () => {
    const worker = await limitedWorker({ maxConcurrent: 1 })
    const [first, late, soon] = [
      await insertJob(db.admin),
      await insertJob(db.admin),
      await insertJob(db.admin, { priority: 1 }),
    ]
    const order: string[] = []
    for (let i = 0; i < 3; i++) {
      const job = await worker.claimOne()
      order.push(job.id)
      await complete(job)
    }
    expect(order).toEqual([first, soon, late])
  })
})

describe('a rate', () => {
  it('is not exceeded by workers that claim at once, nor by retries, and returns with time', async () => {
    const workers = await Promise.all(Array.from({ length: 6 }, () => limitedWorker({ rateLimitPerMinute: 10 })))
    await insertMany(30)
    const claimAll = async () => (await Promise.all(workers.map((worker) => worker.claim(4)))).flat()
    const first = await claimAll()
    expect(first).toHaveLength(10)
    // Neither an end nor a hand-back nor a retry gives a start back.
    for (const job of first.slice(0, 4)) await complete(job)
    for (const job of first.slice(4, 8)) await fail(job, 0)
    await releaseJobs(asWorker(), first.slice(8))
    await sweep()
    expect(await claimAll()).toEqual([])
    await letTimePass(30)
    await sweep()
    expect(await claimAll()).toEqual([])
    await letTimePass(31)
    await sweep()
    expect(await claimAll()).toHaveLength(10)
  })

  it('counts what started at the edge of its window, and no start that did not come about', async () => {
    const count = (bucket: number) =>
      scalar(db.admin, 'select jobs.count_recent($1, $2, $3)::int', [[100], [7], bucket])
    expect([await count(99), await count(160), await count(161)]).toEqual([7, 7, 0])

    const worker = await limitedWorker({ rateLimitPerMinute: 1 })
    const locked = await insertJob(db.admin)
    const client = await db.admin.connect()
    await client.query('begin')
    await client.query('select from jobs.tb_job_run where id = $1 for update', [locked])
    expect(await worker.claim()).toEqual([])
    await client.query('commit')
    client.release()
    await db.admin.query('update jobs.tb_job_queue set run_at = now()')
    await sweep()
    expect((await worker.claimOne()).id).toBe(locked)
  })

  it('of an hour holds beside one of a minute, and 0 starts nothing', async () => {
    const worker = await limitedWorker({ rateLimitPerMinute: 5, maxInvocationsPerHour: 7 })
    await insertMany(20)
    expect(await worker.claim()).toHaveLength(5)
    await letTimePass(120)
    await sweep()
    expect(await worker.claim()).toHaveLength(2)
    await letTimePass(120)
    await sweep()
    expect(await worker.claim()).toEqual([])
    await letTimePass(3_660)
    await sweep()
    expect(await worker.claim()).toHaveLength(5)
    await registerServices(asWorker(), worker.id, [registrationOf({ maxInvocationsPerHour: 0 })])
    await letTimePass(7_200)
    await sweep()
    expect(await worker.claim()).toEqual([])
  })
})
