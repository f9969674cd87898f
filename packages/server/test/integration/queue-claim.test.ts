import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { claimJobs } from '../../src/queue/claim.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { heartbeat } from '../../src/queue/heartbeat.ts'
import { drainWorker } from '../../src/queue/worker-registration.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { emptyRecord, insertJob, readLive, readRow, scalar, startWorker } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
afterEach(() => db.admin.query('truncate jobs.tb_job_run'))

describe('claimJobs', () => {
  it('gives a worker everything it needs, with numbers as they were written', async () => {
    const tenant = randomUUID()
    const id = await insertJob(db.as('ergon_enqueue'), {
      input_data: '{"n": 12345678901234567890, "f": 1.0}',
      tenant_id: tenant,
      correlation_id: 'order-7',
      entity_type: 'Order',
      entity_pk: '7',
      max_attempts: 5,
      timeout_seconds: 60,
      traceparent: '00-a-b-01',
    })
    const worker = await startWorker(db.as('ergon_worker'))
    const before = Date.now()
    const job = await worker.claimOne()
    expect(job).toMatchObject({
      id,
      attempt: 1,
      maxAttempts: 5,
      lane: 'http',
      serviceName: 'stripe',
      operation: 'charge',
      executionType: 'http',
    })
    expect(job).toMatchObject({
      tenantId: tenant,
      correlationId: 'order-7',
      entityType: 'Order',
      entityPk: '7',
      timeoutSeconds: 60,
      traceparent: '00-a-b-01',
    })
    expect(job.inputJson).toBe('{"f": 1.0, "n": 12345678901234567890}')
    expect(job.deadline.getTime() - before).toBeGreaterThanOrEqual(89_000)
    expect(job.deadline.getTime() - before).toBeLessThan(120_000)
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'running', attempts: 1 })
    expect(await heartbeat(db.as('ergon_worker'), worker.id)).toEqual([{ jobId: id, fence: job.fence }])
  })

  it('takes the soonest of all its services: by priority, then in the order they came', async () => {
    const app = db.as('ergon_enqueue')
    const third = await insertJob(app)
    const fourth = await insertJob(app, { service_name: 'Mailer' })
    const second = await insertJob(app, { service_name: 'Mailer', priority: 50 })
    const first = await insertJob(app, { priority: 10 })
    const worker = await startWorker(db.as('ergon_worker'))
    const claim = async () => (await worker.claim(3, ['http'], ['stripe', 'mailer'])).map(({ id }) => id)
    expect(await claim()).toEqual([first, second, third])
    expect(await claim()).toEqual([fourth])
  })

  it('keeps the order of one INSERT of many rows', async () => {
    const app = db.as('ergon_enqueue')
    await app.query(
      `insert into jobs.tb_job_run (identifier, service_name, operation) select 'n' || g, 'stripe', 'x' from generate_series(1, 50) g`,
    )
    const worker = await startWorker(db.as('ergon_worker'))
    const claimed = await worker.claim(50)
    const { rows } = await db.admin.query(
      'select identifier from unnest($1::uuid[]) with ordinality c (id, n) join jobs.tb_job_run j using (id) order by n',
      [claimed.map(({ id }) => id)],
    )
    expect(rows).toEqual(Array.from({ length: 50 }, (_, index) => ({ identifier: `n${index + 1}` })))
  })

  it('serves only the lanes it names, each for its free slots', async () => {
    const app = db.as('ergon_enqueue')
    for (let count = 0; count < 3; count += 1) {
      await insertJob(app)
      await insertJob(app, { queue: 'bulk' })
      await insertJob(app, { execution_type: 'docker' })
    }
    const worker = await startWorker(db.as('ergon_worker'), { lanes: ['http', 'http:bulk', 'docker'] })
    const jobs = await claimJobs(db.as('ergon_worker'), {
      workerId: worker.id,
      lanes: [
        { lane: 'http', slots: 2 },
        { lane: 'http:bulk', slots: 1 },
      ],
      services: ['stripe'],
    })
    expect(jobs.map(({ lane }) => lane).toSorted()).toEqual(['http', 'http', 'http:bulk'])
  })

  it('never holds more jobs than it registered slots for', async () => {
    for (let count = 0; count < 5; count += 1) await insertJob(db.as('ergon_enqueue'))
    const worker = await startWorker(db.as('ergon_worker'), { slots: 3 })
    expect(await worker.claim(2)).toHaveLength(2)
    expect(await worker.claim(5)).toHaveLength(1)
    expect(await worker.claim(5)).toHaveLength(0)
  })

  it('leaves jobs of services it does not know, at no cost', async () => {
    const app = db.as('ergon_enqueue')
    await app.query(
      `insert into jobs.tb_job_run (identifier, service_name, operation, priority)
       select 'foreign-' || g, 'foreign', 'x', 1 from generate_series(1, 50000) g`,
    )
    const mine = await insertJob(app)
    const worker = await startWorker(db.as('ergon_worker'))
    const client = await db.admin.connect()
    try {
      const claim = `select id from jobs.claim_jobs('${worker.id}', '{http}', '{10}', '{stripe}')`
      // The first call of a session also reads the catalogue and plans.
      await client.query(`begin; ${claim}; rollback`)
      const { rows } = await client.query(`explain (analyze, buffers, format json) ${claim}`)
      const plan = rows[0]['QUERY PLAN'][0].Plan
      expect(plan['Actual Rows']).toBe(1)
      // The foreign rows and their index fill more than a thousand pages.
      expect(plan['Shared Hit Blocks'] + plan['Shared Read Blocks']).toBeLessThan(150)
    } finally {
      client.release()
    }
    expect(await readRow(db.admin, mine)).toMatchObject({ status: 'running' })
    expect(await worker.claim(10)).toEqual([])
  })

  it('gives each job to one worker only when eight claim at once', async () => {
    await db
      .as('ergon_enqueue')
      .query(
        `insert into jobs.tb_job_run (identifier, service_name, operation) select 'p' || g, 'stripe', 'x' from generate_series(1, 800) g`,
      )
    const claimed: string[] = []
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const worker = await startWorker(db.as('ergon_worker'))
        for (;;) {
          const jobs = await worker.claim(7)
          if (jobs.length === 0) return
          claimed.push(...jobs.map(({ id }) => id))
          const accepted = await completeJobs(
            db.as('ergon_worker'),
            jobs.map((job) => ({ ...emptyRecord, id: job.id, fence: job.fence })),
          )
          expect(accepted.size).toBe(jobs.length)
        }
      }),
    )
    expect(new Set(claimed).size).toBe(claimed.length)
    expect(
      await scalar(db.admin, `select count(*)::int from jobs.tb_job_run where status = 'completed' and attempts = 1`),
    ).toBe(800)
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue')).toBe(0)
  })

  it('drops a live row whose job was cancelled while it was being claimed', async () => {
    const id = await insertJob(db.as('ergon_enqueue'))
    const worker = await startWorker(db.as('ergon_worker'))
    const application = await db.as('ergon_enqueue').connect()
    try {
      await application.query('begin')
      // Holds the wide row; a second session holds the live row, so the trigger cannot take that one away.
      const holder = await db.admin.connect()
      await holder.query('begin')
      await holder.query('select from jobs.tb_job_queue where job_id = $1 for update', [id])
      await application.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id])
      await holder.query('rollback')
      holder.release()
      expect(await worker.claim(1)).toEqual([])
      await application.query('commit')
    } finally {
      application.release()
    }
    await db.admin.query('update jobs.tb_job_queue set run_at = now()')
    expect(await promoteJobs(db.as('ergon_worker'))).toBe(1)
    expect(await worker.claim(1)).toEqual([])
    expect(await readLive(db.admin, id)).toBeNull()
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'cancelled' })
  })

  it.each([
    [
      'a worker that nobody registered',
      async () =>
        claimJobs(db.as('ergon_worker'), { workerId: randomUUID(), lanes: [{ lane: 'http', slots: 1 }], services: [] }),
      'WORKER_UNKNOWN',
    ],
    [
      'a draining worker',
      async () => {
        const worker = await startWorker(db.as('ergon_worker'))
        await drainWorker(db.as('ergon_worker'), worker.id)
        return worker.claim()
      },
      'WORKER_DRAINING',
    ],
    [
      'a lane that was not registered',
      async () => (await startWorker(db.as('ergon_worker'))).claim(1, ['docker']),
      'LANE_NOT_REGISTERED',
    ],
  ])('refuses %s', async (_, claim, code) => {
    await expect(claim()).rejects.toMatchObject({ name: 'ErgonError', code })
  })
})
