import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { retryJob } from '../../src/queue/retry.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyRecord,
  insertJob,
  readLate,
  readLive,
  readRow,
  scalar,
  someFailure,
  startWorker,
  type TestWorker,
} from './queue-fixture.ts'

let db: TestDatabase
let worker: TestWorker
beforeAll(async () => {
  db = await createTestDatabase()
  worker = await startWorker(db.as('ergon_worker'))
})
afterAll(() => db.drop())
afterEach(() => db.admin.query('truncate jobs.tb_job_run'))

const app = () => db.as('ergon_enqueue')
const setStatus = (id: string, status: string) =>
  app().query('update jobs.tb_job_run set status = $2 where id = $1', [id, status])

/** Listens in a session of its own and gives the payloads that arrived once `work` and a marker of ours have passed. */
async function notificationsOf(channel: string, work: () => Promise<unknown>): Promise<string[]> {
  const client = await db.admin.connect()
  try {
    const { promise, resolve } = Promise.withResolvers<void>()
    const payloads: string[] = []
    client.on('notification', ({ payload }) => (payload === 'marker' ? resolve() : payloads.push(payload ?? '')))
    await client.query(`listen ${channel}`)
    await work()
    await db.admin.query(`select pg_notify($1, 'marker')`, [channel])
    await promise
    return payloads
  } finally {
    client.release(true)
  }
}

describe.each([
  ['the function', async (id: string) => expect(await cancelJob(db.as('ergon_enqueue'), id)).toBe('cancelled')],
  ['an UPDATE', (id: string) => setStatus(id, 'cancelled')],
])('cancelling by %s', (_, cancel) => {
  it('takes a pending job out of the queue', async () => {
    const id = await insertJob(app())
    await cancel(id)
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'cancelled', completed_at: expect.any(Date) })
    expect(await readLive(db.admin, id)).toBeNull()
    expect(await worker.claim()).toEqual([])
  })

  it('takes a running job from its worker and tells it', async () => {
    const id = await insertJob(app())
    const job = await worker.claimOne()
    expect(await notificationsOf('ergon_cancel', async () => cancel(id))).toEqual([`${id} ${job.fence}`])
    expect(await readLive(db.admin, id)).toBeNull()
    expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence: job.fence })).toBe(false)
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'cancelled', output_data: null })
    expect(await readLate(db.admin, id)).toEqual({ complete: 1 })
  })
})

describe('cancelJob', () => {
  it('tells what is finished from what never was', async () => {
    const id = await insertJob(app(), { status: 'completed' })
    expect(await cancelJob(db.as('ergon_enqueue'), id)).toBe('finished')
    expect(await cancelJob(db.as('ergon_enqueue'), '00000000-0000-4000-8000-000000000000')).toBe('not_found')
  })
})

describe('a failed job set to pending', () => {
  async function failed(maxAttempts: number): Promise<string> {
    const id = await insertJob(app(), { max_attempts: maxAttempts })
    const job = await worker.claimOne()
    await failJob(db.as('ergon_worker'), {
      ...emptyRecord,
      id,
      fence: job.fence,
      failure: someFailure,
      retryDelayMs: null,
    })
    return id
  }

  it.each([
    ['an UPDATE', (id: string) => setStatus(id, 'pending')],
    ['the function', async (id: string) => expect(await retryJob(db.as('ergon_enqueue'), id)).toBe('queued')],
  ])('by %s runs again as the next attempt, with at least one left', async (_, retry) => {
    const id = await failed(1)
    await retry(id)
    expect(await readRow(db.admin, id)).toMatchObject({
      status: 'pending',
      failure: null,
      failure_code: null,
      dead_letter_reason: null,
      completed_at: null,
      max_attempts: 2,
    })
    expect(await worker.claimOne()).toMatchObject({ id, attempt: 2, maxAttempts: 2 })
  })

  it('gets its whole budget again when the counter is reset, and its attempts go on counting', async () => {
    const id = await failed(3)
    await app().query(
      `update jobs.tb_job_run set status = 'pending', attempts = 0, run_at = now() - interval '1 s' where id = $1`,
      [id],
    )
    expect(await worker.claimOne()).toMatchObject({ id, attempt: 2, maxAttempts: 4 })
  })

  it('is not there or has not failed: the function says so', async () => {
    expect(await retryJob(db.as('ergon_enqueue'), await insertJob(app()))).toBe('not_failed')
    expect(await retryJob(db.as('ergon_enqueue'), '00000000-0000-4000-8000-000000000000')).toBe('not_found')
  })
})

describe('other updates', () => {
  it.each([
    ['pending', 'running'],
    ['pending', 'completed'],
    ['pending', 'failed'],
    ['completed', 'pending'],
    ['cancelled', 'pending'],
    ['completed', 'cancelled'],
    ['failed', 'completed'],
  ])('from %s to %s are refused', async (from, to) => {
    const id = await insertJob(app(), { status: from })
    await expect(setStatus(id, to)).rejects.toMatchObject({
      code: 'ILLEGAL_TRANSITION',
      message: expect.stringContaining(`is ${from} and cannot be set to ${to}`),
    })
    expect(await readRow(db.admin, id)).toMatchObject({ status: from })
  })

  it.each([
    ['pending', `tenant_id = gen_random_uuid()`],
    ['completed', `service_name = 'other'`],
    ['pending', `execution_type = 'docker'`],
    ['pending', `priority = 1`],
    ['running', `timeout_seconds = 9`],
    ['running', `input_data = '{}'`],
  ])('of a %s row that set %s are refused', async (status, assignment) => {
    const id = await insertJob(app(), { status })
    await expect(app().query(`update jobs.tb_job_run set ${assignment} where id = $1`, [id])).rejects.toMatchObject({
      code: 'IMMUTABLE_COLUMN',
    })
  })

  it('of what is not the queue’s business pass', async () => {
    const id = await insertJob(app())
    await app().query(
      `update jobs.tb_job_run set entity_pk = '9', input_data = '{"a": 1}', execution_type = 'HTTP' where id = $1`,
      [id],
    )
    expect(await readRow(db.admin, id)).toMatchObject({ entity_pk: '9', input_data: { a: 1 }, execution_type: 'http' })
  })
})

describe('DELETE', () => {
  it('takes live row, output, attempts and late counts along and tells the worker', async () => {
    const pending = await insertJob(app(), { priority: 200 })
    const running = await insertJob(app())
    const job = await worker.claimOne()
    expect(
      await notificationsOf('ergon_cancel', () =>
        app().query('delete from jobs.tb_job_run where id = any ($1)', [[pending, running]]),
      ),
    ).toEqual([`${running} ${job.fence}`])
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue')).toBe(0)
    expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id: running, fence: job.fence })).toBe(false)
    expect(await readLate(db.admin, running)).toEqual({})
  })
})

describe('TRUNCATE', () => {
  it('empties the queue', async () => {
    await insertJob(app())
    await db.admin.query('truncate jobs.tb_job_run')
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue')).toBe(0)
  })
})
