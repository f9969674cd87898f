import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { STREAM_LIMITS } from '../../src/api/live/open-streams.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { TENANT_A } from './api-fixture.ts'
import { type LiveTest, startLiveTest } from './live-fixture.ts'
import { insertJob } from './queue-fixture.ts'

const VANISH = fileURLToPath(new URL('vanish.py', import.meta.url))

let live: LiveTest
beforeAll(async () => {
  live = await startLiveTest()
})
afterAll(() => live.close())

// Its socket drops all that comes: no byte is acknowledged, nothing is reset.
it('a client that vanishes without a word is found before a heartbeat is written to it', async () => {
  // Of a job that waits, what it waits for could change.
  const { id } = await live.runningJob()
  const { port, pathname } = new URL(live.url(id))
  const asked = once(live.api.app.server, 'request') as Promise<[IncomingMessage, ServerResponse]>
  const client = spawn('/usr/bin/python3', [VANISH, port, pathname, live.api.tokens.a], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    const [request, stream] = await asked
    const closed = once(stream, 'close')
    await once(client.stdout, 'data')
    const { bytesWritten } = request.socket
    await closed
    expect(request.socket.bytesWritten).toBe(bytesWritten)
    // It has hung up on nobody.
    expect(client.exitCode).toBeNull()
  } finally {
    client.kill()
  }
})

it('a thousand idle streams of a token are held open, cost little, and each hears of the end of its job', async () => {
  const { perToken } = STREAM_LIMITS
  const token = await live.api.token(['read'], TENANT_A)
  const ids = await Promise.all(
    Array.from({ length: 100 }, () => insertJob(live.api.db.admin, { tenant_id: TENANT_A })),
  )
  const before = process.memoryUsage().rss
  const readers: EventReader[] = []
  for (let n = 0; n < perToken; n += 100)
    readers.push(...(await Promise.all(ids.map((id) => EventReader.open(live.url(id), token)))))
  expect(new Set(readers.map(({ status }) => status))).toEqual(new Set([200]))
  const refused = await EventReader.open(live.url(ids[0] ?? ''), token)
  expect(refused.status).toBe(429)
  await Promise.all(readers.map((reader) => reader.until((r) => r.ofType('progress').length > 0)))
  // Of both sides, since the clients are in this process too.
  expect((process.memoryUsage().rss - before) / perToken).toBeLessThan(400_000)
  await live.api.db.admin.query(`update jobs.tb_job_run set status = 'cancelled' where id = any ($1)`, [ids])
  await Promise.all(readers.map((reader) => reader.untilOver()))
  for (const reader of readers) expect(reader.ofType('end')).toHaveLength(1)
})
