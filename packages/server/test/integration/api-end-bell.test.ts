import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest'
import { EndBell } from '../../src/api/live/end-bell.ts'
import { ListenConnection } from '../../src/platform/db/listen-connection.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { emptyQueue, insertJob, scalar, startWorker, type TestWorker } from './queue-fixture.ts'

let db: TestDatabase
let worker: TestWorker
let session: ListenConnection
let bell: EndBell
let heard: string[] = []
let connections = 0

beforeAll(async () => {
  db = await createTestDatabase()
  session = new ListenConnection({
    url: db.url('ergon_api'),
    applicationName: 'ergon-test-bell',
    channels: { ergon_end: (ids) => heard.push(ids) },
    onConnect: () => {
      connections += 1
      bell?.lose()
    },
    onLoss: () => bell.lose(),
  })
  await session.start()
})
afterAll(async () => {
  await session.stop()
  await db.drop()
})
beforeEach(async () => {
  bell = new EndBell(() => (session.isConnected ? session : null))
  worker = await startWorker(db.admin)
  heard = []
})
afterEach(() => emptyQueue(db.admin))

async function waitUntilHeld(): Promise<void> {
  bell.enter()
  await vi.waitFor(() => expect(bell.isHeld).toBe(true))
}

const NOTHING = {
  outputJson: null,
  resourceUsage: null,
  envVersion: null,
  logs: null,
  stdout: null,
  stderr: null,
  artifacts: [],
}

async function complete(jobs: readonly ClaimedJob[]): Promise<void> {
  const records = jobs.map(({ id, fence }) => ({ id, fence, ...NOTHING }))
  expect((await completeJobs(db.as('ergon_worker'), records)).size).toBe(jobs.length)
}

/** What has been told until now. */
async function settle(): Promise<string[]> {
  await db.admin.query(`select pg_notify('ergon_end', 'marker')`)
  await vi.waitFor(() => expect(heard).toContain('marker'))
  return heard.filter((ids) => ids !== 'marker')
}

it('tells of ends while somebody waits, and of none else', async () => {
  await insertJob(db.admin)
  await complete(await worker.claim())
  expect(await settle()).toEqual([])

  await waitUntilHeld()
  const id = await insertJob(db.admin)
  await complete(await worker.claim())
  const failing = await insertJob(db.admin, { max_attempts: 1 })
  const failure = { category: 'USER_CODE_ERROR', code: 'TEST', message: 'no', evidence: null, details: null } as const
  const { id: failed, fence } = await worker.claimOne()
  await failJob(db.as('ergon_worker'), { id: failed, fence, ...NOTHING, failure, retryDelayMs: null })
  const cancelled = await insertJob(db.admin)
  await db.admin.query('select jobs.cancel_job($1)', [cancelled])
  expect(await settle()).toEqual([id, failing, cancelled])
  bell.leave()
})

it('tells of many ends of one statement in payloads that a notification has room for', async () => {
  await waitUntilHeld()
  await db.admin.query(
    `insert into jobs.tb_job_run (identifier, service_name, operation)
     select 'many' || g, 'stripe', 'charge' from generate_series(1, 450) g`,
  )
  const jobs = await worker.claim(1_000)
  await complete(jobs)
  const told = await settle()
  expect(told).toHaveLength(3)
  expect(told.flatMap((ids) => ids.split(' ')).toSorted()).toEqual(jobs.map(({ id }) => id).toSorted())
  bell.leave()
})

it('lets go some time after the last one has left', async () => {
  const held = () =>
    scalar(
      db.admin,
      `select count(*)::int from pg_locks l join pg_stat_activity a using (pid)
       where l.locktype = 'advisory' and a.application_name = 'ergon-test-bell' and a.datname = current_database()`,
    )
  await vi.waitFor(async () => expect(await held()).toBe(0), { timeout: 5_000 })
  await waitUntilHeld()
  bell.enter()
  bell.leave()
  expect(await held()).toBe(1)
  bell.leave()
  await vi.waitFor(async () => expect(await held()).toBe(0), { timeout: 5_000 })
  expect(bell.isHeld).toBe(false)
})

it('holds the lock of the new session when the old one is cut', async () => {
  await waitUntilHeld()
  const before = connections
  await db.admin.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ergon-test-bell'`,
  )
  await vi.waitFor(() => expect(connections).toBe(before + 1), { timeout: 5_000 })
  await vi.waitFor(() => expect(bell.isHeld).toBe(true))
  const id = await insertJob(db.admin)
  await complete(await worker.claim())
  expect(await settle()).toEqual([id])
  bell.leave()
})
