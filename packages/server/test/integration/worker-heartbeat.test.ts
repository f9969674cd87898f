import { connect, createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ListenConnection } from '../../src/platform/db/listen-connection.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { Attempt } from '../../src/worker/attempt.ts'
import { Heartbeat } from '../../src/worker/heartbeat.ts'
import { HeldAttempts } from '../../src/worker/held-attempts.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob, readLive, readRow, startWorker } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

describe('a claim that the database grants and nobody runs', () => {
  it('is handed back uncounted when its job never began, and counts as lost when it did', async () => {
    const [unbegun, begun, running] = [await insertJob(db.admin), await insertJob(db.admin), await insertJob(db.admin)]
    const worker = await startWorker(db.as('ergon_worker'))
    const attempts = new HeldAttempts()
    for (const job of await worker.claim()) {
      if (job.id === unbegun) continue
      const attempt = new Attempt(job, '/nowhere', () => Promise.resolve(true))
      attempts.begin(attempt)
      if (job.id === begun) attempts.end(attempt)
    }
    const heartbeat = new Heartbeat({
      db: db.as('ergon_worker'),
      idleSession: () => null,
      workerId: worker.id,
      attempts,
      register: () => Promise.resolve(),
      logger: createLogger('test', 'silent'),
    })
    heartbeat.start()
    await expect.poll(() => readLive(db.admin, unbegun), { timeout: 10_000 }).toMatchObject({ state: 'ready' })
    await expect
      .poll(() => readRow(db.admin, begun), { timeout: 10_000 })
      .toMatchObject({ status: 'failed', failure_code: 'WORKER_LOST' })
    await heartbeat.stop()
    expect(await readRow(db.admin, unbegun)).toMatchObject({ status: 'pending', attempts: 0 })
    expect(await readRow(db.admin, running)).toMatchObject({ status: 'running', attempts: 1 })
  })
})

it('a listening connection that leads nowhere is noticed and replaced', async () => {
  let swallows = false
  const sockets: Socket[] = []
  const target = new URL(db.url('ergon_worker'))
  const path = `${target.searchParams.get('host')}/.s.PGSQL.${target.port || '5432'}`
  const proxy = createServer((client) => {
    const server = connect(path)
    sockets.push(client, server)
    for (const socket of [client, server]) socket.on('error', () => {})
    client.on('data', (bytes) => swallows || server.write(bytes))
    server.on('data', (bytes) => client.write(bytes))
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const address = proxy.address()
  if (address === null || typeof address === 'string') throw new Error('no port')
  target.searchParams.delete('host')
  target.hostname = '127.0.0.1'
  target.port = String(address.port)

  const connection = new ListenConnection({
    url: target.toString(),
    applicationName: 'test',
    channels: {},
    onConnect: () => {},
    onLoss: () => {},
  })
  await connection.start()
  swallows = true
  await expect(connection.query('select 1')).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE' })
  await expect.poll(() => connection.isConnected).toBe(false)
  swallows = false
  await expect.poll(() => connection.isConnected, { timeout: 20_000 }).toBe(true)
  expect((await connection.query('select 1 as one')).rows).toEqual([{ one: 1 }])
  await connection.stop()
  for (const socket of sockets) socket.destroy()
  proxy.close()
})
