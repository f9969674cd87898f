import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { completeJob } from '../../src/queue/complete.ts'
import { heartbeat } from '../../src/queue/heartbeat.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import { deregisterWorker } from '../../src/queue/worker-registration.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { emptyRecord, insertJob, readLive, readRow, scalar, startWorker, type TestWorker } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

const rescue = () => rescueJobs(db.as('ergon_worker'))
/** Lets the database's clock pass for one worker. */
const silence = (worker: TestWorker) =>
  db.admin.query(`update jobs.tb_job_worker set heartbeat_at = heartbeat_at - interval '1 h' where worker_id = $1`, [
    worker.id,
  ])

async function claimed(columns: Readonly<Record<string, unknown>>) {
  const id = await insertJob(db.as('ergon_enqueue'), columns)
  const worker = await startWorker(db.as('ergon_worker'))
  const job = await worker.claimOne()
  return { id, worker, job }
}

describe('a worker that fell silent', () => {
  it('loses its job, which is tried again when it may', async () => {
    const { id, worker, job } = await claimed({ on_worker_lost: 'retry' })
    expect(await rescue()).toEqual({ retried: 0, failed: 0, removedWorkers: 0 })
    await silence(worker)
    expect(await rescue()).toEqual({ retried: 1, failed: 0, removedWorkers: 1 })
    expect(await readRow(db.admin, id)).toMatchObject({
      status: 'pending',
      failure_category: 'INTERNAL_ERROR',
      failure_code: 'WORKER_LOST',
      attempts: 1,
    })
    expect(await readLive(db.admin, id)).toMatchObject({ state: 'scheduled' })
    const delayMs = await scalar(
      db.admin,
      'select extract(epoch from run_at - updated_at)::float8 * 1000 from jobs.tb_job_run where id = $1',
      [id],
    )
    expect(delayMs).toBeGreaterThanOrEqual(490)
    expect(delayMs).toBeLessThanOrEqual(1_001)
    expect(await scalar(db.admin, 'select outcome from jobs.tb_job_attempt where job_id = $1', [id])).toBe('lost')
    expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence: job.fence })).toBe(false)
    expect(await heartbeat(db.as('ergon_worker'), worker.id)).toBeNull()
  })

  it('fails its job when that must not run twice', async () => {
    const { id, worker } = await claimed({})
    await silence(worker)
    expect(await rescue()).toMatchObject({ retried: 0, failed: 1 })
    expect(await readRow(db.admin, id)).toMatchObject({
      status: 'failed',
      failure_code: 'WORKER_LOST',
      dead_letter_reason: 'WORKER_LOST',
    })
    expect(await readLive(db.admin, id)).toBeNull()
  })

  it('fails its job when no attempt is left', async () => {
    const { id, worker } = await claimed({ on_worker_lost: 'retry', max_attempts: 1 })
    await silence(worker)
    expect(await rescue()).toMatchObject({ failed: 1 })
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'failed', dead_letter_reason: 'ATTEMPTS_EXHAUSTED' })
  })

  it('keeps everything when its heartbeat comes before a rescue', async () => {
    const { id, worker, job } = await claimed({})
    await silence(worker)
    expect(await heartbeat(db.as('ergon_worker'), worker.id)).toEqual([{ jobId: id, fence: job.fence }])
    expect(await rescue()).toMatchObject({ retried: 0, failed: 0 })
    expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence: job.fence })).toBe(true)
  })

  it('is gone at once when it signs off with a job in hand', async () => {
    const { id, worker } = await claimed({ on_worker_lost: 'retry' })
    await deregisterWorker(db.as('ergon_worker'), worker.id)
    expect(await rescue()).toMatchObject({ retried: 1 })
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'pending' })
  })
})

describe('a deadline that passed', () => {
  it('takes the job even from a worker that lives', async () => {
    const { id, worker } = await claimed({ on_worker_lost: 'retry' })
    await db.admin.query(`update jobs.tb_job_queue set deadline = now() where job_id = $1`, [id])
    expect(await rescue()).toEqual({ retried: 1, failed: 0, removedWorkers: 0 })
    expect(await readRow(db.admin, id)).toMatchObject({ error_message: expect.stringContaining('by its deadline') })
    expect(await heartbeat(db.as('ergon_worker'), worker.id)).toEqual([])
  })
})

it('is done by one rescuer at a time', async () => {
  const { worker } = await claimed({})
  await silence(worker)
  const other = await db.admin.connect()
  try {
    await other.query(`begin; select from jobs.tb_mutex where name = 'rescue' for update`)
    expect(await rescue()).toEqual({ retried: 0, failed: 0, removedWorkers: 0 })
  } finally {
    await other.query('rollback')
    other.release()
  }
  expect(await rescue()).toMatchObject({ failed: 1 })
})
