import { once } from 'node:events'
import net from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { UntrustedSession } from '../../src/platform/db/untrusted-session.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())

it('ends although nobody answers any more, as after a failover', async () => {
  const target = new URL(db.url('ergon_callback'))
  const folder = target.searchParams.get('host')
  const sockets: net.Socket[] = []
  // A network that swallows all: what is sent is not answered, nor is the end of the connection.
  let isGone = false
  const proxy = net.createServer({ allowHalfOpen: true }, (client) => {
    const server =
      folder === null
        ? net.connect(Number(target.port), target.hostname)
        : net.connect(`${folder}/.s.PGSQL.${target.port === '' ? '5432' : target.port}`)
    sockets.push(client, server)
    client.on('data', (chunk) => isGone || server.write(chunk)).on('error', () => {})
    server.on('data', (chunk) => isGone || client.write(chunk)).on('error', () => {})
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const address = proxy.address()
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port')
  const url = new URL(target)
  url.search = ''
  url.hostname = '127.0.0.1'
  url.port = String(address.port)
  try {
    const session = new UntrustedSession({ url: url.toString(), applicationName: 'ergon-test' })
    await session.open()
    isGone = true
    const before = performance.now()
    await session.end()
    expect(performance.now() - before).toBeLessThan(5_000)
  } finally {
    for (const socket of sockets) socket.destroy()
    proxy.close()
  }
})

it('ends sessions of its own login alone, in its database, whose transaction has gone on for too long', async () => {
  const session = new UntrustedSession({ url: db.url('ergon_callback'), applicationName: 'ergon-test' })
  await session.open()
  const own = await db.as('ergon_callback').connect()
  const others = await db.as('ergon_worker').connect()
  const ended = new Promise((resolve) => own.on('error', resolve))
  try {
    await own.query('begin')
    await others.query('begin')
    expect(await session.endOverdue(3_600_000)).toBe(0)
    await own.query('select 1')
    expect(await session.endOverdue(0)).toBe(1)
    expect(Object(await ended).code).toBe('57P01')
    await others.query('commit')
  } finally {
    own.release(true)
    others.release()
    await session.end()
  }
})

it('knows whether it stands', async () => {
  const session = new UntrustedSession({ url: db.url('ergon_callback'), applicationName: 'ergon-test-standing' })
  expect(await session.answers()).toBe(false)
  await session.open()
  expect(await session.answers()).toBe(true)
  await db.admin.query(
    `select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'ergon-test-standing'`,
  )
  expect(await session.answers()).toBe(false)
  await session.end()
})
