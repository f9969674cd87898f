import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { explainWait, listWaitingServices } from '../../src/control/explain-wait.ts'
import type { ServiceRegistration } from '../../src/domain/service-registration.ts'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { deregisterWorker } from '../../src/queue/worker-registration.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyQueue,
  emptyRecord,
  insertJob,
  readLive,
  readRow,
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

const limitedWorker = (limit: Partial<ServiceRegistration>, options?: Parameters<typeof startWorker>[1]) =>
  startLimitedWorker(asWorker(), limit, options)
const insertMany = (count: number) => Promise.all(Array.from({ length: count }, () => insertJob(db.admin)))
const complete = ({ id, fence }: ClaimedJob) => completeJob(asWorker(), { ...emptyRecord, id, fence })
const sweep = () => promoteJobs(asWorker())
const countState = (state: string) =>
  scalar(db.admin, 'select count(*)::int from jobs.tb_job_queue where state = $1', [state])

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
    await registerServices(asWorker(), worker.id, [registrationOf({ maxConcurrent: 5 })])
    expect(await worker.claim(5)).toEqual([])
    expect(await countState('gated')).toBe(145)
    await registerServices(asWorker(), worker.id, [registrationOf({})])
    await sweep()
    expect(await worker.claim(200)).toHaveLength(145)
  })

  it('of a worker that is not registered is refused', async () => {
    await expect(registerServices(asWorker(), randomUUID(), [registrationOf({})])).rejects.toMatchObject({
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
      await db.admin.query(
        `select state, lane, gate, reason, waits_until > now() as later from jobs.explain_wait($1)`,
        [id],
      )
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

  it('is told without a date where a limit lets nothing start, and of all services at once', async () => {
    await limitedWorker({ maxInvocationsPerHour: 0 })
    const ids = [await insertJob(db.admin), await insertJob(db.admin), await insertJob(db.admin)]
    await insertJob(db.admin, { service_name: 'unknown' })
    await insertJob(db.admin, { run_at: new Date(Date.now() + 3_600_000) })
    const reason = 'max_invocations_per_hour 0: used up'
    expect(await explainWait(db.admin, ids[0] ?? '')).toEqual({
      state: 'gated',
      lane: 'http',
      gate: 'limit:stripe',
      reason,
      until: null,
    })
    expect(await listWaitingServices(db.admin)).toEqual([
      { service: 'stripe', lane: 'http', jobs: 3, reason },
      { service: 'unknown', lane: 'http', jobs: 1, reason: 'no worker knows the service' },
    ])
    await cancelJob(db.as('ergon_enqueue'), ids[0] ?? '')
    expect(await explainWait(db.admin, ids[0] ?? '')).toBeNull()
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
