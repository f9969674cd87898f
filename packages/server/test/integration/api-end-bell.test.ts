import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { EndBell } from '../../src/api/live/end-bell.ts'
import { JobWatcher } from '../../src/api/live/job-watcher.ts'
import { awaitEnd } from '../../src/api/routes/job-parts.ts'
import { readOwnJobView } from '../../src/control/read-job.ts'
import { ListenConnection } from '../../src/platform/db/listen-connection.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyQueue,
  emptyRecord,
  insertJob,
  scalar,
  someFailure,
  startWorker,
  type TestWorker,
} from './queue-fixture.ts'

const TENANT = 'aaaaaaaa-0000-4000-8000-000000000001'

let db: TestDatabase
let worker: TestWorker
let session: ListenConnection
let bell: EndBell
let heard: string[]
let hear: (ids: string) => void
let connections: number

beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
beforeEach(async () => {
  heard = []
  connections = 0
  hear = (ids) => heard.push(ids)
  session = new ListenConnection({
    url: db.url('ergon_api'),
    applicationName: 'ergon-test-bell',
    channels: { ergon_end: (ids) => hear(ids) },
    onConnect: () => {
      connections += 1
      bell.lose()
    },
    onLoss: () => bell.lose(),
  })
  bell = new EndBell(() => (session.isConnected ? session : null))
  await session.start()
  worker = await startWorker(db.admin)
})
afterEach(async () => {
  await session.stop()
  await emptyQueue(db.admin)
})

async function waitFor(jobId: string): Promise<void> {
  bell.enter(jobId)
  await vi.waitFor(() => expect(bell.isHeld(jobId)).toBe(true))
}

/** An id in the bucket that these two digits name. */
const idIn = (bucket: string) => randomUUID().slice(0, -2) + bucket

async function complete(jobs: readonly ClaimedJob[]): Promise<void> {
  const records = jobs.map(({ id, fence }) => ({ id, fence, ...emptyRecord }))
  expect((await completeJobs(db.as('ergon_worker'), records)).size).toBe(jobs.length)
}

async function fail({ id, fence }: ClaimedJob): Promise<void> {
  await failJob(db.as('ergon_worker'), { id, fence, ...emptyRecord, failure: someFailure, retryDelayMs: null })
}

/** What has been told until now. */
async function settle(): Promise<string[]> {
  await db.admin.query(`select pg_notify('ergon_end', 'marker')`)
  await vi.waitFor(() => expect(heard).toContain('marker'))
  return heard.filter((ids) => ids !== 'marker')
}

const locksHeld = () =>
  scalar(
    db.admin,
    `select count(*)::int from pg_locks l join pg_stat_activity a using (pid)
     where l.locktype = 'advisory' and a.application_name = 'ergon-test-bell' and a.datname = current_database()`,
  )

it('tells of the ends of jobs that somebody waits for, however they end, and of those in their bucket', async () => {
  const ids = ['a0', 'a0', 'a0', 'b1', 'b1'].map(idIn)
  const [completed = '', failed = '', cancelled = ''] = ids
  await waitFor(completed)
  for (const id of ids) await insertJob(db.admin, { id })
  await db.admin.query('select jobs.cancel_job($1)', [cancelled])
  for (const job of await worker.claim()) await (job.id === failed ? fail(job) : complete([job]))
  expect((await settle()).toSorted()).toEqual([completed, failed, cancelled].toSorted())
})

it('tells of nothing where nobody waits', async () => {
  await insertJob(db.admin)
  await complete(await worker.claim())
  expect(await settle()).toEqual([])
})

it('tells of many ends of one statement in payloads that a notification has room for', async () => {
  await waitFor(idIn('c2'))
  const ids = Array.from({ length: 450 }, () => idIn('c2'))
  await db.admin.query(
    `insert into jobs.tb_job_run (id, identifier, service_name, operation)
     select id, id, 'stripe', 'charge' from unnest($1::uuid[]) id`,
    [ids],
  )
  await complete(await worker.claim(1_000))
  const told = await settle()
  expect(told).toHaveLength(3)
  expect(told.flatMap((some) => some.split(' ')).toSorted()).toEqual(ids.toSorted())
})

it('holds a lock as long as somebody waits for one of its jobs, and asks again where it could not be had', async () => {
  const [first, second] = [idIn('d3'), idIn('d3')]
  await waitFor(first)
  bell.enter(second)
  bell.leave(first)
  expect(bell.isHeld(second)).toBe(true)
  expect(await locksHeld()).toBe(1)
  bell.leave(second)
  await vi.waitFor(async () => expect(await locksHeld()).toBe(0))

  const other = await db.admin.connect()
  try {
    await other.query('select pg_advisory_lock(jobs.end_doorbell_key($1))', [first])
    bell.enter(first)
    await session.query('select 1')
    expect(bell.isHeld(first)).toBe(false)
    await other.query('select pg_advisory_unlock_all()')
    bell.retry(first)
    await vi.waitFor(() => expect(bell.isHeld(first)).toBe(true))
  } finally {
    other.release(true)
  }
})

it('gives back what came after everybody had left', async () => {
  const id = randomUUID()
  bell.enter(id)
  bell.leave(id)
  await session.query('select 1')
  await vi.waitFor(async () => expect(await locksHeld()).toBe(0))
  expect(bell.isHeld(id)).toBe(false)
})

it('holds the locks of the new session when the old one is cut', async () => {
  const id = randomUUID()
  await waitFor(id)
  await db.admin.query(
    `select pg_terminate_backend(pid) from pg_stat_activity
     where application_name = 'ergon-test-bell' and datname = current_database()`,
  )
  await vi.waitFor(() => expect(connections).toBe(2), { timeout: 5_000 })
  await vi.waitFor(() => expect(bell.isHeld(id)).toBe(true))
  await insertJob(db.admin, { id })
  await complete(await worker.claim())
  expect(await settle()).toEqual([id])
})

it('leaves no lock behind in a session whose statement was interrupted', async () => {
  const client = await db.admin.connect()
  try {
    const pid = await scalar(client, 'select pg_backend_pid()')
    const advisory = `select count(*)::int from pg_locks where locktype = 'advisory' and pid = $1`
    const ids = Array.from({ length: 300 }, () => randomUUID())
    let interrupted = 0
    for (let round = 0; round < 40; round += 1) {
      await client.query(
        `insert into jobs.tb_job_run (id, identifier, service_name, operation)
         select id, id, 's', 'o' from unnest($1::uuid[]) id`,
        [ids],
      )
      const ending = client.query('delete from jobs.tb_job_queue').catch(() => (interrupted += 1))
      await db.admin.query('select pg_cancel_backend($1)', [pid])
      await ending
      await client.query('delete from jobs.tb_job_run').catch(() => client.query('delete from jobs.tb_job_run'))
      expect(await scalar(db.admin, advisory, [pid])).toBe(0)
    }
    expect(interrupted).toBeGreaterThan(0)
  } finally {
    client.release(true)
  }
})

it('lets a call go on waiting that was rung for by somebody who knows nothing', async () => {
  const pool = db.as('ergon_api')
  const watcher = new JobWatcher(new TenantDatabase(pool, 'all'), () => {}, bell)
  hear = (ids) => {
    heard.push(ids)
    watcher.ring(ids)
  }
  const own = new TenantDatabase(pool, { tenantId: TENANT })
  const id = await insertJob(db.admin, { tenant_id: TENANT })
  const job = await readOwnJobView(own, id)
  if (job === null) throw new Error('the job is not there')
  let answer: string | null = null
  const gone = new AbortController().signal
  const waiting = awaitEnd(job, 60, { db: own, watcher, gone }).then(({ state }) => (answer = state))
  await vi.waitFor(() => expect(bell.isHeld(id)).toBe(true))
  for (let n = 0; n < 5; n += 1) await db.admin.query(`select pg_notify('ergon_end', $1)`, [id])
  await settle()
  await own.query('select 1')
  expect(answer).toBeNull()
  await complete(await worker.claim())
  await waiting
  expect(answer).toBe('completed')
  expect(watcher.watchedCount).toBe(0)
  watcher.stop()
})
