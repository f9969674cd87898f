import type { Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { revokeToken } from '../../src/control/tokens.ts'
import { cancelJob } from '../../src/queue/cancel.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { TENANT_A } from './api-fixture.ts'
import { glue, type LiveTest, startLiveTest } from './live-fixture.ts'
import { insertJob } from './queue-fixture.ts'

let live: LiveTest
beforeAll(async () => {
  live = await startLiveTest({ writeTimeoutMs: 2_000, perToken: 40 }, { lifetimeMs: 4_000, total: 3 })
})
afterAll(() => live.close())

describe('clients', () => {
  it('that are slow are given what they miss from the database, and nothing is kept for them', async () => {
    const size = 8 * 1024 * 1024
    const job = await live.runningJob()
    await live.api.db.admin.query(
      `insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes)
       values ($1, 1, 'stdout', 0, convert_to(repeat('0123456789abcde€', ${size} / 18), 'UTF8'))`,
      [job.id],
    )
    await cancelJob(live.api.db.admin, job.id)
    const sockets: Socket[] = []
    live.api.app.server.on('connection', (socket) => sockets.push(socket))
    const reader = await live.follow(job.id)
    reader.pause()
    const [socket] = sockets
    if (socket === undefined) throw new Error('there is no connection')
    // What it takes with nobody reading is what kernels keep.
    let taken = -1
    while (socket.bytesWritten !== taken) {
      taken = socket.bytesWritten
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    expect(socket.writableLength).toBeLessThan(512 * 1024)
    expect(taken).toBeLessThan(size * 0.9)
    // Nobody reads on, so it is cut off.
    await new Promise<void>((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
    const again = await (await live.follow(job.id)).untilOver()
    expect(glue(again.events, 'stdout')).toBe('0123456789abcde€'.repeat(Math.floor(size / 18)))
    expect(again.ofType('end')).toHaveLength(1)
  })

  it('may have so many streams open', async () => {
    const job = await live.runningJob()
    const token = await live.api.token(['read'], TENANT_A)
    const readers = await Promise.all(Array.from({ length: 41 }, () => EventReader.open(live.url(job.id), token)))
    const [refused, ...more] = readers.filter(({ status }) => status !== 200)
    expect({ more, status: refused?.status }).toEqual({ more: [], status: 429 })
    await refused?.untilOver()
    expect(JSON.parse(refused?.body ?? '')).toMatchObject({ code: 'TOO_MANY_STREAMS' })
    for (const reader of readers) reader.close()
    // Whoever has gone counts no more.
    let status = 429
    while (status !== 200) {
      const reader = await EventReader.open(live.url(job.id), token)
      status = reader.status
      reader.close()
    }
  })

  it('are refused by a process that has no room, and come back to it when their time is over', async () => {
    const job = await live.runningJob()
    const readers = await Promise.all([1, 2, 3].map(() => live.follow(job.id, '', 1)))
    const refused = await (await live.follow(job.id, '', 1)).untilOver()
    expect({ status: refused.status, after: refused.headers['retry-after'] }).toEqual({ status: 503, after: '1' })
    expect(JSON.parse(refused.body)).toMatchObject({ code: 'STREAMS_EXHAUSTED' })
    for (const reader of readers) expect((await reader.untilOver()).retryMs).toBeGreaterThan(0)
    const again = await live.follow(job.id, readers[0]?.lastId, 1)
    expect(again.status).toBe(200)
    again.close()
  })

  it('whose token is revoked lose their streams, and nobody else does', async () => {
    const job = await live.runningJob()
    const token = await live.api.token(['read'], TENANT_A)
    const stays = await live.follow(job.id)
    const reader = await EventReader.open(live.url(job.id), token)
    await reader.until((r) => r.events.length > 0)
    const id = token.slice(6, 38).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    expect(await revokeToken(live.api.db.admin, id)).toBe(true)
    // As the listening connection does.
    live.api.context.tokens.forget(id)
    await reader.untilOver()
    expect((await EventReader.open(live.url(job.id), token, reader.lastId)).status).toBe(401)
    expect(stays.isOver).toBe(false)
    stays.close()
  })

  it('keep their streams when the database cuts every connection', async () => {
    const job = await live.runningJob()
    const reader = await live.follow(job.id)
    const at = await live.print(job, 'stdout', 0, 'before\n')
    await reader.until((r) => glue(r.events, 'stdout') === 'before\n')
    await live.api.db.admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity
       where application_name = 'ergon-api' and datname = current_database()`,
    )
    await live.print(job, 'stdout', at, 'behind\n')
    await reader.until((r) => glue(r.events, 'stdout') === 'before\nbehind\n')
    expect(reader.isOver).toBe(false)
    reader.close()
  })

  it('that only listen cost a few statements', async () => {
    const ids = await Promise.all(
      Array.from({ length: 30 }, () => insertJob(live.api.db.admin, { tenant_id: TENANT_A })),
    )
    const readers = await Promise.all(ids.map((id) => live.follow(id)))
    await Promise.all(readers.map((reader) => reader.until((r) => r.ofType('progress').length > 0)))
    const connect = live.api.pool.connect.bind(live.api.pool)
    let statements = 0
    live.api.pool.connect = () => {
      statements++
      return connect()
    }
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    live.api.pool.connect = connect
    for (const reader of readers) reader.close()
    // 30 streams that each asked four times a second would be 240.
    expect(statements).toBeLessThan(100)
    await live.api.db.admin.query(`update jobs.tb_job_run set status = 'cancelled' where id = any ($1)`, [ids])
  })
})

it('every stream ends at once when its process stops, with word of when to come back', async () => {
  const job = await live.runningJob()
  const reader = await live.follow(job.id, '', 1)
  await reader.until((r) => r.events.length > 0)
  const startedAt = performance.now()
  await live.other.close()
  await reader.untilOver()
  expect(performance.now() - startedAt).toBeLessThan(5_000)
  expect(reader.retryMs).toBeGreaterThan(0)
  await live.print(job, 'stdout', 0, 'meanwhile\n')
  const again = await live.follow(job.id, reader.lastId)
  await again.until((r) => r.events.length > 0)
  expect(again.events[0]).toMatchObject({ type: 'stdout', data: { offset: 0, text: 'meanwhile\n' } })
  again.close()
})
