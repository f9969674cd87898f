import { randomUUID } from 'node:crypto'
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
import { deregisterWorker } from '../../src/queue/worker-registration.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { emptyRecord, insertJob, readLive, readRow, scalar, someFailure, startWorker } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
afterEach(() =>
  db.admin.query(
    'truncate jobs.tb_job_run; truncate jobs.tb_job_queue, jobs.tb_job_worker, jobs.tb_worker_service, jobs.tb_service',
  ),
)

const asWorker = () => db.as('ergon_worker')

function limits(limit: Partial<ServiceRegistration>): ServiceRegistration {
  return {
    service: 'stripe',
    executionType: 'http',
    maxConcurrent: null,
    rateLimitPerMinute: null,
    maxInvocationsPerHour: null,
    ...limit,
  }
}

/** A worker that knows `stripe` with these limits. */
async function limitedWorker(limit: Partial<ServiceRegistration>, options: Parameters<typeof startWorker>[1] = {}) {
  const worker = await startWorker(asWorker(), options)
  await registerServices(asWorker(), worker.id, [limits(limit)])
  return worker
}

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
    const registrations = services.map((service) => limits({ service, maxConcurrent: allowed[service] ?? null }))
    const running = new Map(services.map((service) => [service, 0]))
    const most = new Map(running)
    const ids: string[] = []
    for (const service_name of services)
      for (let i = 0; i < 40; i++) ids.push(await insertJob(db.as('ergon_enqueue'), { service_name, max_attempts: 50 }))
    let left = ids.length

    const end = async (job: ClaimedJob): Promise<void> => {
      await scalar(db.admin, 'select pg_sleep(random() * 0.01)')
      running.set(job.serviceName, (running.get(job.serviceName) ?? 0) - 1)
      const roll = Math.random()
      if (roll < 0.1) return void (await fail(job, 0))
      if (roll < 0.2) return void (await releaseJobs(asWorker(), [job]))
      left -= 1
      if (roll < 0.3) await cancelJob(asWorkerOfApi(), job.id)
      else if (roll < 0.4) await db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [job.id])
      else expect(await complete(job)).toBe(true)
    }
    const work = async (): Promise<void> => {
      const worker = await startWorker(asWorker())
      // The order differs from worker to worker: locks must not.
      await registerServices(asWorker(), worker.id, Math.random() < 0.5 ? registrations : registrations.toReversed())
      while (left > 0) {
        const jobs = await worker.claim(1 + Math.floor(Math.random() * 5), ['http'], services.toReversed())
        for (const { serviceName } of jobs) {
          running.set(serviceName, (running.get(serviceName) ?? 0) + 1)
          most.set(serviceName, Math.max(most.get(serviceName) ?? 0, running.get(serviceName) ?? 0))
        }
        await Promise.all(jobs.map(end))
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
    'is cancelled by the function': ({ id }) => cancelJob(asWorkerOfApi(), id),
    'is cancelled by an application': ({ id }) =>
      db.as('ergon_enqueue').query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id]),
    'is deleted': ({ id }) => db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [id]),
    'is deleted and inserted again': async ({ id }) => {
      await db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [id])
      await insertJob(db.as('ergon_enqueue'), { id, run_at: new Date(Date.now() + 60_000) })
    },
    'loses its worker': async () => {
      await db.admin.query(`update jobs.tb_job_worker set heartbeat_at = heartbeat_at - interval '1 h'`)
      await rescueJobs(asWorker())
    },
  }
  it.each(Object.entries(ends))('lets the next one come when one %s, without waiting for the sweep', async (_, end) => {
    const worker = await limitedWorker({ maxConcurrent: 1 })
    const ids = [await insertJob(db.admin), await insertJob(db.admin), await insertJob(db.admin)]
    const job = await worker.claimOne()
    expect(await worker.claim()).toEqual([])
    await end(job)
    expect(await countState('ready')).toBe(1)
    expect((await (await startWorker(asWorker())).claimOne()).id).toBe(ids[1])
  })

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
    const count = (bucket: number) => scalar(db.admin, 'select jobs.count_recent($1, $2, $3)::int', [[100], [7], bucket])
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
    await registerServices(asWorker(), worker.id, [limits({ maxInvocationsPerHour: 0 })])
    await letTimePass(7_200)
    await sweep()
    expect(await worker.claim()).toEqual([])
  })
})

describe('what several workers say', () => {
  it('holds as the strictest of those that live, whoever speaks last', async () => {
    const [strict, loose] = [await limitedWorker({ maxConcurrent: 2 }), await limitedWorker({ maxConcurrent: 5 })]
    await insertMany(10)
    const jobs = await loose.claim()
    expect(jobs).toHaveLength(2)
    await deregisterWorker(asWorker(), strict.id)
    await sweep()
    expect(await loose.claim()).toHaveLength(3)
    await limitedWorker({ maxConcurrent: 1 })
    for (const job of jobs) await complete(job)
    expect(await loose.claim()).toEqual([])
  })

  it('stays when the only worker restarts, with what has started', async () => {
    const worker = await limitedWorker({ rateLimitPerMinute: 2 })
    await insertMany(4)
    expect(await worker.claim()).toHaveLength(2)
    await deregisterWorker(asWorker(), worker.id)
    expect(await (await limitedWorker({ rateLimitPerMinute: 2 })).claim()).toEqual([])
  })

  it('counts jobs that ran before there was a limit, and frees all that wait when there is none any more', async () => {
    const worker = await startWorker(asWorker())
    await insertMany(150)
    expect(await worker.claim(5)).toHaveLength(5)
    await registerServices(asWorker(), worker.id, [limits({ maxConcurrent: 5 })])
    expect(await worker.claim(5)).toEqual([])
    expect(await countState('gated')).toBe(145)
    await registerServices(asWorker(), worker.id, [limits({})])
    await sweep()
    expect(await worker.claim(200)).toHaveLength(145)
  })

  it('of a worker that is not registered is refused', async () => {
    await expect(registerServices(asWorker(), randomUUID(), [limits({})])).rejects.toMatchObject({
      code: 'WORKER_UNKNOWN',
    })
  })
})

describe('the lane of a job', () => {
  it('is that of its service, whatever its row says, when a worker has told it', async () => {
    const worker = await limitedWorker({ executionType: 'sandbox' }, { lanes: ['sandbox', 'sandbox:bulk'] })
    const [id, queued] = [await insertJob(db.admin), await insertJob(db.admin, { queue: 'bulk' })]
    expect(await readLive(db.admin, id)).toMatchObject({ lane: 'sandbox', retry_when_lost: true })
    expect((await worker.claim()).map((job) => job.id).toSorted()).toEqual([id, queued].toSorted())
    // What the row says is recorded, and compared by the worker.
    expect(await readRow(db.admin, id)).toMatchObject({ execution_type: 'http' })
  })

  it('is corrected for jobs that came before the worker', async () => {
    const ids = [await insertJob(db.admin), await insertJob(db.admin, { run_at: new Date(Date.now() + 3_600_000) })]
    const worker = await limitedWorker({ executionType: 'sandbox', maxConcurrent: 1 }, { lanes: ['sandbox'] })
    expect(await worker.claim()).toEqual([])
    await sweep()
    await complete(await worker.claimOne())
    await db.admin.query('update jobs.tb_job_queue set run_at = now()')
    await sweep()
    await sweep()
    expect((await worker.claimOne()).id).toBe(ids[1])
  })
})

describe('why a job waits', () => {
  const explain = async (id: string) =>
    (
      await db
        .as('ergon_api')
        .query(`select state, lane, gate, reason, waits_until > now() as later from jobs.explain_wait($1)`, [id])
    ).rows[0]

  it('is told for each gate, and in the view of the queue', async () => {
    const worker = await limitedWorker({ maxConcurrent: 1, rateLimitPerMinute: 1 })
    const [running, waiting] = [await insertJob(db.admin), await insertJob(db.admin)]
    expect(await explain(running)).toMatchObject({ state: 'ready', reason: 'a worker with a free slot' })
    await worker.claimOne()
    expect(await explain(running)).toBeUndefined()
    const reason = 'max_concurrent 1: 1 running; rate_limit_per_minute 1: used up'
    expect(await explain(waiting)).toEqual({ state: 'gated', lane: 'http', gate: 'limit:stripe', reason, later: true })
    const health = await db
      .as('ergon_enqueue')
      .query('select pending_jobs::int, gated_by, gated_until > now() as later from jobs.v_job_queue_health')
    expect(health.rows).toEqual([{ pending_jobs: 1, gated_by: reason, later: true }])
  })

  it.each([
    [{ queue: 'nobody' }, 'no worker serves the lane http:nobody'],
    [{ service_name: 'unknown' }, 'no worker knows the service unknown'],
    [{ gate: 'approval' }, 'the gate approval is closed'],
    [{ run_at: new Date(Date.now() + 3_600_000) }, 'its time has not come'],
  ])('%j: %s', async (columns, reason) => {
    await limitedWorker({})
    expect(await explain(await insertJob(db.admin, columns))).toMatchObject({ reason })
  })
})

function asWorkerOfApi() {
  return db.as('ergon_api')
}
