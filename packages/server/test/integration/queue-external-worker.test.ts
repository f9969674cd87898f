import { afterAll, beforeAll, expect, it } from 'vitest'
import { completeJob } from '../../src/queue/complete.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { emptyRecord, insertJob, readLate, readLive, readRow, startWorker, type TestWorker } from './queue-fixture.ts'

let db: TestDatabase
let worker: TestWorker
beforeAll(async () => {
  db = await createTestDatabase()
  worker = await startWorker(db.as('ergon_worker'))
})
afterAll(() => db.drop())

const external = () => db.as('ergon_enqueue')
const start = (id: string) => external().query('select jobs.mark_job_started($1)', [id])
const complete = (id: string) =>
  external().query('select jobs.complete_job_successfully($1, $2)', [id, '{"done": true}'])
const fail = (id: string) => external().query('select jobs.fail_job($1, $2)', [id, 'it broke'])

it('takes a pending job that ours then leave alone, and completes it', async () => {
  const id = await insertJob(external())
  await start(id)
  expect(await readLive(db.admin, id)).toBeNull()
  expect(await readRow(db.admin, id)).toMatchObject({ status: 'running', attempts: 1, started_at: expect.any(Date) })
  expect(await worker.claim()).toEqual([])
  await complete(id)
  expect(await readRow(db.admin, id)).toMatchObject({
    status: 'completed',
    output_data: { done: true },
    completed_at: expect.any(Date),
  })
  expect(await readLate(db.admin, id)).toEqual({})
})

it('fails a job it took', async () => {
  const id = await insertJob(external())
  await start(id)
  await fail(id)
  expect(await readRow(db.admin, id)).toMatchObject({
    status: 'failed',
    error_message: 'it broke',
    completed_at: expect.any(Date),
  })
})

it('changes nothing on a job that a worker of ours holds, and is counted', async () => {
  const id = await insertJob(external())
  const job = await worker.claimOne()
  const before = await readRow(db.admin, id)
  await start(id)
  await complete(id)
  await fail(id)
  expect(await readRow(db.admin, id)).toEqual(before)
  expect(await readLate(db.admin, id)).toEqual({ mark_job_started: 1, complete_job_successfully: 1, fail_job: 1 })
  expect(await completeJob(db.as('ergon_worker'), { ...emptyRecord, id, fence: job.fence })).toBe(true)
})

it('cannot complete what it never took', async () => {
  const id = await insertJob(external())
  await complete(id)
  await fail(id)
  expect(await readRow(db.admin, id)).toMatchObject({ status: 'pending' })
  expect(await worker.claimOne()).toMatchObject({ id })
})
