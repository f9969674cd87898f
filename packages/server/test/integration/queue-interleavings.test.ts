import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { abandonJobs } from '../../src/queue/abandon.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { releaseJobs } from '../../src/queue/release.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { emptyRecord, insertJob, readLive, readRow, scalar, startWorker } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
afterEach(() => db.admin.query('truncate jobs.tb_job_run; truncate jobs.tb_job_queue; truncate jobs.tb_job_worker'))

/** Runs `meanwhile` while a transaction that has run `statement` is open, and then commits it. */
async function inOpenTransaction<Result>(
  statement: string,
  values: unknown[],
  meanwhile: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await db.admin.connect()
  try {
    await client.query('begin')
    await client.query(statement, values)
    return await meanwhile(client)
  } finally {
    await client.query('commit')
    client.release()
  }
}
const LOCK_ROW = 'select from jobs.tb_job_run where id = $1 for update'

describe('a row that an application keeps locked', () => {
  it('is passed over by a claim and comes up again by itself', async () => {
    const locked = await insertJob(db.admin)
    const next = await insertJob(db.admin)
    const worker = await startWorker(db.as('ergon_worker'))
    await inOpenTransaction(LOCK_ROW, [locked], async () => {
      await worker.claim(1)
      expect((await worker.claim(1)).map(({ id }) => id)).toEqual([next])
    })
    expect(await readRow(db.admin, locked)).toMatchObject({ status: 'pending', attempts: 0 })
    expect(await readLive(db.admin, locked)).toMatchObject({ state: 'scheduled', attempt: 0, fence: null })
  })

  it('does not keep the jobs of a lost worker from being rescued', async () => {
    const locked = await insertJob(db.admin)
    const other = await insertJob(db.admin)
    await (await startWorker(db.as('ergon_worker'))).claim()
    await db.admin.query('delete from jobs.tb_job_worker')
    await inOpenTransaction(LOCK_ROW, [locked], async () => {
      expect(await rescueJobs(db.as('ergon_worker'))).toMatchObject({ failed: 1 })
      expect(await readRow(db.admin, other)).toMatchObject({ status: 'failed' })
    })
    expect(await rescueJobs(db.as('ergon_worker'))).toMatchObject({ failed: 1 })
  })

  it('holds up the recording of its result for moments only, and is recorded later', async () => {
    const id = await insertJob(db.admin)
    const { fence } = await (await startWorker(db.as('ergon_worker'))).claimOne()
    const record = { ...emptyRecord, id, fence }
    await inOpenTransaction(LOCK_ROW, [id], async () => {
      await expect(completeJob(db.as('ergon_worker'), record)).rejects.toMatchObject({ code: '55P03' })
    })
    expect(await completeJob(db.as('ergon_worker'), record)).toBe(true)
  })
})

it('does not claim for a worker that is being removed', async () => {
  const id = await insertJob(db.admin)
  const worker = await startWorker(db.as('ergon_worker'))
  await db.admin.query(`update jobs.tb_job_worker set heartbeat_at = heartbeat_at - interval '1 h'`)
  const claiming = await inOpenTransaction('delete from jobs.tb_job_worker', [], async () => {
    const claim = worker.claim().then(
      () => 'claimed',
      (error: unknown) => Object(error).code,
    )
    while ((await scalar(db.admin, `select count(*)::int from pg_locks where not granted`)) === 0);
    return { claim }
  })
  expect(await claiming.claim).toBe('WORKER_UNKNOWN')
  expect(await readRow(db.admin, id)).toMatchObject({ status: 'pending' })
})

it('tells the worker of a cancellation although it was just storing output', async () => {
  const id = await insertJob(db.admin)
  const job = await (await startWorker(db.as('ergon_worker'))).claimOne()
  const ears = await db.admin.connect()
  const heard: string[] = []
  ears.on('notification', ({ payload }) => heard.push(payload ?? ''))
  await ears.query('listen ergon_cancel')
  await inOpenTransaction('select from jobs.tb_job_queue where job_id = $1 for share', [id], () =>
    db.as('ergon_enqueue').query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id]),
  )
  await ears.query('select')
  ears.release(true)
  expect(heard).toEqual([`${id} ${job.fence}`])
  // What the trigger could not take away goes when the worker lets go of the job.
  expect(await releaseJobs(db.as('ergon_worker'), [job])).toBe(0)
  expect(await readLive(db.admin, id)).toBeNull()
  expect(await readRow(db.admin, id)).toMatchObject({ status: 'cancelled' })
})

describe('a row with odd values', () => {
  it.each([
    ['attempts', 2_147_483_647],
    ['attempts', -2_147_483_648],
    ['created_at', 'infinity'],
    ['created_at', '-infinity'],
    ['created_at', '0001-01-01 BC'],
  ])('%s = %s does not keep others from being claimed', async (column, value) => {
    const odd = await insertJob(db.admin, { [column]: value })
    const even = await insertJob(db.admin)
    const jobs = await (await startWorker(db.as('ergon_worker'))).claim()
    expect(jobs.map(({ id }) => id)).toEqual([odd, even])
    expect(jobs[0]?.attempt).toBeGreaterThanOrEqual(1)
    expect(await readRow(db.admin, odd)).toMatchObject({ status: 'running', attempts: jobs[0]?.attempt })
  })
})

it.each([
  ['retry', { status: 'pending', attempts: 1, failure_code: 'WORKER_LOST' }],
  ['fail', { status: 'failed', attempts: 1, failure_code: 'WORKER_LOST', dead_letter_reason: 'WORKER_LOST' }],
])('ends an abandoned attempt as on_worker_lost = %s says', async (onWorkerLost, expected) => {
  const id = await insertJob(db.admin, { on_worker_lost: onWorkerLost })
  const job = await (await startWorker(db.as('ergon_worker'))).claimOne()
  expect(await abandonJobs(db.as('ergon_worker'), [{ id, fence: id }])).toBe(0)
  expect(await abandonJobs(db.as('ergon_worker'), [job])).toBe(1)
  expect(await readRow(db.admin, id)).toMatchObject(expected)
  expect(await abandonJobs(db.as('ergon_worker'), [job])).toBe(0)
})

describe('a job inserted under the id of one that was deleted while somebody held its live row', () => {
  const LOCK_LIVE = 'select from jobs.tb_job_queue where job_id = $1 for update'
  const REINSERT = `insert into jobs.tb_job_run (id, identifier, service_name, operation)
                    values ($1::uuid, 'again-' || $1::uuid::text, 'stripe', 'again')`
  const DELETE = 'delete from jobs.tb_job_run where id = $1'
  const app = () => db.as('ergon_enqueue')
  const reinsert = async (id: string) => {
    await app().query(DELETE, [id])
    await app().query(REINSERT, [id])
  }
  const maintain = () => promoteJobs(db.as('ergon_worker'))

  async function expectToRunOnce(id: string): Promise<void> {
    await maintain()
    const worker = await startWorker(db.as('ergon_worker'))
    const [job, ...others] = await worker.claim()
    expect(others).toEqual([])
    expect(job).toMatchObject({ id, operation: 'again', attempt: 1 })
    if (job === undefined) return
    expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence: job.fence })).toBe(true)
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'completed' })
    expect(await readLive(db.admin, id)).toBeNull()
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_requeue')).toBe(0)
  }

  it('runs although the holder, a worker, then removes the live row', async () => {
    const id = await insertJob(db.admin)
    const job = await (await startWorker(db.as('ergon_worker'))).claimOne()
    // As record_failure does: it holds the live row while it looks at the wide one.
    await inOpenTransaction(LOCK_LIVE, [id], async (client) => {
      await reinsert(id)
      await maintain()
      await client.query('delete from jobs.tb_job_queue where job_id = $1 and fence = $2', [id, job.fence])
    })
    await expectToRunOnce(id)
  })

  it('runs although the holder lets go and leaves the live row there', async () => {
    const id = await insertJob(db.admin)
    const job = await (await startWorker(db.as('ergon_worker'))).claimOne()
    await inOpenTransaction('select from jobs.tb_job_queue where job_id = $1 for share', [id], () => reinsert(id))
    await maintain()
    // What the worker that ran the deleted job still says changes nothing of the new one.
    expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence: job.fence })).toBe(false)
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'pending' })
    await expectToRunOnce(id)
  })

  it('runs when both happened in one transaction, which waited for nobody', async () => {
    const id = await insertJob(db.admin)
    await inOpenTransaction(LOCK_LIVE, [id], async (client) => {
      const own = await app().connect()
      await own.query('begin')
      await own.query(`set local lock_timeout = '200ms'`)
      await own.query(DELETE, [id])
      await own.query(REINSERT, [id])
      // The holder removes its row before the application commits: neither has seen what the other did.
      await client.query('delete from jobs.tb_job_queue where job_id = $1', [id])
      await client.query('commit')
      await own.query('commit')
      own.release()
    })
    await expectToRunOnce(id)
  })

  it('is forgotten when it is cancelled, deleted or rolled back', async () => {
    const [cancelled, deleted, undone] = [
      await insertJob(db.admin),
      await insertJob(db.admin),
      await insertJob(db.admin),
    ]
    await inOpenTransaction('select from jobs.tb_job_queue for update', [], async () => {
      await reinsert(cancelled)
      await reinsert(deleted)
      await app().query(DELETE, [undone])
      const own = await app().connect()
      await own.query('begin')
      await own.query(REINSERT, [undone])
      await own.query('rollback')
      own.release()
      await app().query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [cancelled])
      await app().query(DELETE, [deleted])
    })
    await maintain()
    expect(await (await startWorker(db.as('ergon_worker'))).claim()).toEqual([])
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_requeue')).toBe(0)
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue')).toBe(0)
    expect(await readRow(db.admin, cancelled)).toMatchObject({ status: 'cancelled' })
  })

  it('is queued at once when nobody holds the live row any more', async () => {
    const id = await insertJob(db.admin, { priority: 7 })
    await inOpenTransaction(LOCK_LIVE, [id], () => app().query(DELETE, [id]))
    await app().query(REINSERT, [id])
    expect(await readLive(db.admin, id)).toMatchObject({ state: 'ready', attempt: 0, priority: 100 })
    await expectToRunOnce(id)
  })

  it('waits no longer than its holder, however many do this at once', async () => {
    const ids = await Promise.all(Array.from({ length: 20 }, () => insertJob(db.admin)))
    const worker = await startWorker(db.as('ergon_worker'))
    const jobs = await worker.claim()
    const record = jobs.map(({ id, fence }) =>
      completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence }).catch(() => false),
    )
    const replace = ids.map((id) => reinsert(id))
    await Promise.all([...record, ...replace])
    const ran = new Set<string>()
    await maintain()
    for (const job of await worker.claim()) {
      ran.add(job.id)
      expect(job.operation).toBe('again')
    }
    expect(ran).toEqual(new Set(ids))
  })
})
