import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { FilesystemArtifactStore } from '../../src/artifacts/filesystem-store.ts'
import type { Database } from '../../src/platform/db/database.ts'
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

/** Sleeps until the test wakes it, and notes what is done before. */
class NotingDoorbell extends Doorbell {
  readonly notes: string[] = []
  #wake: (ring: Ring) => void = () => {}

  override beginLook(lanes: readonly string[]): void {
    this.notes.push(`look at ${lanes.toSorted().join(' ')}`)
    super.beginLook(lanes)
  }

  override sleepUntilWork(_lanes: readonly string[], signal: AbortSignal): Promise<Ring> {
    this.notes.push('sleep')
    const { promise, resolve } = Promise.withResolvers<Ring>()
    this.#wake = resolve
    signal.addEventListener('abort', () => resolve(NO_RING), { once: true })
    return promise
  }

  /** Wakes it, and gives what was done until it slept again. */
  async wake(ring: Ring): Promise<string[]> {
    await this.asleep()
    const before = this.notes.length
    this.#wake(ring)
    await expect.poll(() => this.notes.slice(before)).toContain('sleep')
    return this.notes.slice(before)
  }

  asleep(): Promise<void> {
    return expect.poll(() => this.notes.at(-1)).toBe('sleep')
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
  worker = createWorker(doorbell, 8, 1)
})

/** Notes its claims, too, if its doorbell notes anything. */
function createWorker(bell: Doorbell, slots: number, sandboxSlots: number): Worker {
  const pool = db.as('ergon_worker')
  const noting: Database = {
    query(text, values) {
      if (bell instanceof NotingDoorbell && text.includes('jobs.claim_jobs'))
        bell.notes.push(`claim of ${(Object(values)[1] as string[]).toSorted().join(' ')}`)
      return pool.query(text, values)
    },
  }
  return new Worker(
    {
      name: 'test',
      version: '0',
      slots,
      sandboxSlots,
      lanes: ['http', 'shell', 'sandbox'],
      spoolFolder: folder,
    },
    {
      db: noting,
      doorbell: bell,
      services: createBuiltInServices(null),
      storageGuard: new StorageGuard(new FilesystemArtifactStore(folder), folder),
      logger: createLogger('test', 'silent'),
      execute: (attempt) => new Promise<void>((resolve) => running.push({ attempt, end: resolve })),
    },
  )
}
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

/** Starts a worker that notes what it does, and waits until it sleeps. */
async function startNoting(slots: number, sandboxSlots: number): Promise<NotingDoorbell> {
  const noting = new NotingDoorbell({ url: db.url('ergon_worker'), logger: { warn: () => {} } })
  worker = createWorker(noting, slots, sandboxSlots)
  await worker.start()
  await noting.asleep()
  return noting
}

const ALONE: Ring = { lanes: ['sandbox'], isAlone: true }
const claims = (notes: readonly string[]) => notes.filter((note) => note.startsWith('claim')).length

it('looks once for a job that it is rung for after a silence, and at all lanes the next time', async () => {
  const noting = await startNoting(3, 3)
  await insertSandboxJobs(1)
  expect(claims(await noting.wake(ALONE))).toBe(1)
  expect(running).toHaveLength(1)
  await insertSandboxJobs(1)
  expect(claims(await noting.wake(ALONE))).toBeGreaterThan(1)
  expect(running).toHaveLength(2)
  // Whatever is claimed from was begun to be looked at right before.
  const { notes } = noting
  for (const [index, note] of notes.entries())
    if (note.startsWith('claim of')) expect(notes[index - 1]).toBe(note.replace('claim of', 'look at'))
})

it('looks for more where one ring filled the places of its lane', async () => {
  const noting = await startNoting(8, 2)
  await insertSandboxJobs(2)
  expect(claims(await noting.wake(ALONE))).toBeGreaterThan(1)
  expect(running).toHaveLength(2)
})
