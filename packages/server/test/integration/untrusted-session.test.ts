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
