import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLogger } from '../../../src/platform/logger.ts'
import { findLiveAttempts, readDatabaseIdentity } from '../../../src/queue/live-attempts.ts'
import { ContainerReaper } from '../../../src/runners/docker/container-reaper.ts'
import { Engine } from '../../../src/runners/docker/engine.ts'
import { labelsOf } from '../../../src/runners/docker/labels.ts'
import { TestEngine } from '../../../src/testing/docker-engine.ts'
import { createTestDatabase, type TestDatabase } from '../../../src/testing/test-database.ts'
import { insertJob, startWorker } from '../queue-fixture.ts'

let engine: TestEngine
let db: TestDatabase
let identity: string
let reaper: ContainerReaper
beforeAll(async () => {
  ;[engine, db] = [await TestEngine.start(), await createTestDatabase()]
  await engine.importBusybox('test/busybox:1')
  const worker = db.as('ergon_worker')
  identity = await readDatabaseIdentity(worker)
  reaper = new ContainerReaper({
    engine: new Engine({ url: engine.url, tls: null }),
    instance: () => readDatabaseIdentity(worker),
    liveAttempts: (jobIds) => findLiveAttempts(worker, jobIds),
    logger: createLogger('test', 'silent'),
  })
})
afterAll(async () => {
  await db?.drop()
  await engine?.stop()
})

/** A container as a worker makes one, which nobody waits for. */
async function abandon(jobId: string, { attempt = 1, instance = identity } = {}): Promise<string> {
  const container = await engine.api.createContainer({
    Image: 'test/busybox:1',
    Cmd: ['/bin/sleep', '600'],
    Labels: labelsOf({ instance, jobId, attempt, serviceName: 'box' }, 'job'),
    HostConfig: { NetworkMode: 'none' },
  })
  await container.start()
  return container.id
}

const present = async () => (await engine.api.listContainers({ all: true })).map(({ Id }) => Id).toSorted()

describe('a database', () => {
  it('is known by a name that no other one has', async () => {
    const other = await createTestDatabase()
    expect(await readDatabaseIdentity(other.as('ergon_worker'))).not.toBe(identity)
    expect(identity).toMatch(/^[0-9a-f]{32}$/)
    await other.drop()
  })
})

describe('the reaper', () => {
  it("removes containers of lost attempts, and no other worker's, database's or person's", async () => {
    const worker = await startWorker(db.as('ergon_worker'))
    const jobId = await insertJob(db.admin)
    await worker.claim()
    const held = await abandon(jobId)
    const kept = [
      held,
      await abandon(randomUUID(), { instance: 'another database' }),
      (await engine.api.createContainer({ Image: 'test/busybox:1', Cmd: ['/bin/true'] })).id,
    ].toSorted()
    await abandon(jobId, { attempt: 2 })
    await abandon(randomUUID())
    expect(await reaper.sweep()).toBe(2)
    expect(await present()).toEqual(kept)
    expect(await reaper.sweep()).toBe(0)

    // The worker falls: its lease ends, its job is rescued, and from then on nobody holds the attempt.
    await db.admin.query(`update jobs.tb_job_worker set heartbeat_at = now() - interval '1 minute'`)
    expect(await reaper.sweep()).toBe(0)
    await db.as('ergon_worker').query('select jobs.rescue_jobs()')
    expect(await reaper.sweep()).toBe(1)
    expect(await present()).toEqual(kept.filter((id) => id !== held))
  })
})
