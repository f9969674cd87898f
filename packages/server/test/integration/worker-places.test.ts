import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { FilesystemArtifactStore } from '../../src/artifacts/filesystem-store.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { Doorbell, NO_RING, type Ring } from '../../src/queue/doorbell.ts'
import { createBuiltInServices } from '../../src/registry/service-registry.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import type { Attempt } from '../../src/worker/attempt.ts'
import { StorageGuard } from '../../src/worker/storage-guard.ts'
import { Worker } from '../../src/worker/worker.ts'
import { insertJob } from './queue-fixture.ts'

/** Neither rings nor polls: whoever sleeps here is woken by the worker itself, or never. */
class DeafDoorbell extends Doorbell {
  override sleepUntilWork(_lanes: readonly string[], signal: AbortSignal): Promise<Ring> {
    const { promise, resolve } = Promise.withResolvers<Ring>()
    if (signal.aborted) resolve(NO_RING)
    else signal.addEventListener('abort', () => resolve(NO_RING), { once: true })
    return promise
  }
}

let db: TestDatabase
let folder: string
let doorbell: Doorbell
let worker: Worker
/** What runs now, in the order in which it began; each ends when the test says so. */
let running: { attempt: Attempt; end: () => void }[]

beforeAll(async () => {
  db = await createTestDatabase()
  folder = await mkdtemp(path.join(tmpdir(), 'ergon-places-'))
})
afterAll(async () => {
  await db.drop()
  await rm(folder, { recursive: true })
})

beforeEach(() => {
  running = []
  doorbell = new DeafDoorbell({ url: db.url('ergon_worker'), logger: { warn: () => {} } })
  worker = new Worker(
    {
      name: 'test',
      version: '0',
      slots: 8,
      sandboxSlots: 1,
      lanes: ['http', 'shell', 'sandbox'],
      spoolFolder: folder,
    },
    {
      db: db.as('ergon_worker'),
      doorbell,
      services: createBuiltInServices(null),
      storageGuard: new StorageGuard(new FilesystemArtifactStore(folder), folder),
      logger: createLogger('test', 'silent'),
      execute: (attempt) => new Promise<void>((resolve) => running.push({ attempt, end: resolve })),
    },
  )
})
afterEach(async () => {
  for (const { end } of running) end()
  await worker.stop(0)
  await db.admin.query('truncate jobs.tb_job_run')
})

async function insertSandboxJobs(count: number): Promise<void> {
  for (let i = 0; i < count; i++)
    await insertJob(db.admin, { service_name: 'executor', operation: 'object_execute', execution_type: 'sandbox' })
}

it('begins the next job when a place is free, while it listens for jobs of lanes that have room', async () => {
  await insertSandboxJobs(3)
  await worker.start()
  for (let job = 0; job < 3; job++) {
    await expect.poll(() => running.length).toBe(job + 1)
    running[job]?.end()
  }
})

it('gives the place of a job that has run to the next, while its outcome is written', async () => {
  await insertSandboxJobs(3)
  await worker.start()
  for (let job = 0; job < 3; job++) {
    await expect.poll(() => running.length).toBe(job + 1)
    running[job]?.attempt.hasRun()
  }
})
