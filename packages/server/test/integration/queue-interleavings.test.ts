import type pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { abandonJobs } from '../../src/queue/abandon.ts'
import { completeJob } from '../../src/queue/complete.ts'
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
