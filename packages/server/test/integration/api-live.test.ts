import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { JobOutputEvent } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createHttpApp } from '../../src/api/http-app.ts'
import { JobWatcher } from '../../src/api/live/job-watcher.ts'
import { STREAM_LIMITS } from '../../src/api/live/open-streams.ts'
import { TokenDirectory } from '../../src/api/token-directory.ts'
import { revokeToken } from '../../src/control/tokens.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { appendOutput } from '../../src/queue/append-output.ts'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import { releaseJobs } from '../../src/queue/release.ts'
import { retryJob } from '../../src/queue/retry.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'
import { emptyRecord, insertJob, registrationOf, someFailure, startWorker, type TestWorker } from './queue-fixture.ts'

let api: TestApi
let worker: TestWorker
/** Two API processes' worth of HTTP sides on one database. */
let urls: string[]
let other: Awaited<ReturnType<typeof createHttpApp>>
let otherWatcher: JobWatcher

beforeAll(async () => {
  const streamLimits = { ...STREAM_LIMITS, heartbeatMs: 300, writeTimeoutMs: 3_000, perToken: 40 }
  api = await startTestApi({ streamLimits })
  otherWatcher = new JobWatcher(new TenantDatabase(api.pool, 'all'), () => {})
  other = await createHttpApp({ ...api.context, watcher: otherWatcher, tokens: new TokenDirectory(api.pool) })
  urls = [await api.app.listen({ host: '127.0.0.1', port: 0 }), await other.listen({ host: '127.0.0.1', port: 0 })]
  worker = await startWorker(api.db.admin)
  await registerServices(api.db.admin, worker.id, [registrationOf({})])
})
afterAll(async () => {
  otherWatcher.stop()
  await other.close()
  await api.close()
})

const eventsUrl = (id: string, process = 0) => `${urls[process]}/v1/jobs/${id}/events`
const follow = (id: string, lastId = '', process = 0) => EventReader.open(eventsUrl(id, process), api.tokens.a, lastId)

async function runningJob(): Promise<ClaimedJob> {
  await insertJob(api.db.admin, { tenant_id: TENANT_A })
  return worker.claimOne()
}

/** Prints texts one after the other, as a worker does. */
async function print(job: ClaimedJob, stream: 'stdout' | 'stderr', from: number, ...texts: string[]): Promise<number> {
  let offset = from
  for (const text of texts) {
    await appendOutput(api.db.as('ergon_worker'), { ...job, stream, offset, text })
    offset += Buffer.byteLength(text)
  }
  return offset
}

const artifact = (name: string) => ({
  artifact_id: randomUUID(),
  kind: 'plot',
  format: 'png',
  digest: `sha256:${'ab'.repeat(32)}`,
  size_bytes: 3,
  content_type: 'image/png',
  metadata: { name, width: 1, height: 1 },
})

/** The text of a stream from its events; each must begin where the one before ended, or anew. */
function glue(events: readonly { type: string; data: unknown }[], stream: 'stdout' | 'stderr'): string {
  let texts: string[] = []
  let bytes = 0
  for (const { type, data } of events) {
    if (type !== stream) continue
    const piece = data as JobOutputEvent
    if (piece.offset === 0) [texts, bytes] = [[], 0]
    expect(piece.offset).toBe(bytes)
    texts.push(piece.text)
    bytes += Buffer.byteLength(piece.text)
  }
  return texts.join('')
}

describe('a stream of a job', () => {
  it('tells everything in order, goes on behind every event, and is over after the end', async () => {
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A })
    const reader = await follow(id.toUpperCase())
    expect(reader.headers).toMatchObject({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    await reader.until((r) => r.ofType('progress').length === 1)
    expect(reader.events[0]).toMatchObject({ type: 'status', data: { job_id: id, state: 'pending', attempts: 0 } })
    expect(reader.events[1]?.data).toMatchObject({ phase: 'waiting', reason: 'a worker with a free slot' })

    const job = await worker.claimOne()
    await reader.until((r) => r.ofType('status').length === 2)
    let at = await print(job, 'stdout', 0, 'ä€𝄞\n', 'zwei\n')
    await reader.until((r) => glue(r.events, 'stdout').includes('zwei'))
    const errors = await print(job, 'stderr', 0, 'warning\n')
    at = await print(job, 'stdout', at, 'drei\n')
    await reader.until((r) => glue(r.events, 'stdout').includes('drei') && r.ofType('stderr').length === 1)
    expect(errors).toBe(8)
    await completeJob(api.db.as('ergon_worker'), {
      ...job,
      ...emptyRecord,
      outputJson: '{"n": 12345678901234567890}',
      stdout: 'ä€𝄞\nzwei\ndrei\nvier\n',
      stderr: 'warning\n',
      artifacts: [artifact('b.png'), artifact('a.png')],
    })
    await reader.untilOver()

    const types = reader.events.map(({ type }) => type)
    expect(types.filter((type) => !type.startsWith('std'))).toEqual([
      ...['status', 'progress', 'status', 'progress', 'status', 'artifact', 'artifact', 'end'],
    ])
    expect(types.lastIndexOf('stdout')).toBeLessThan(types.lastIndexOf('status'))
    expect(reader.ofType('end')[0]?.data).toMatchObject({ job_id: id, state: 'completed', status: 'SUCCEEDED' })
    expect(reader.ofType('artifact').map(({ data }) => data)).toMatchObject([
      { metadata: { name: 'a.png' } },
      { metadata: { name: 'b.png' } },
    ])
    const whole = { stdout: 'ä€𝄞\nzwei\ndrei\nvier\n', stderr: 'warning\n' }
    expect({ stdout: glue(reader.events, 'stdout'), stderr: glue(reader.events, 'stderr') }).toEqual(whole)

    // Cut behind any event, by whichever process: both parts together are the whole.
    for (const [index, { id: lastId, type }] of reader.events.entries()) {
      const rest = await follow(id, lastId, index % 2)
      await rest.untilOver()
      if (type === 'end') {
        expect({ status: rest.status, events: rest.events }).toEqual({ status: 204, events: [] })
        continue
      }
      const both = [...reader.events.slice(0, index + 1), ...rest.events]
      expect({ stdout: glue(both, 'stdout'), stderr: glue(both, 'stderr') }).toEqual(whole)
      expect(both.filter((event) => event.type === 'artifact').map(({ data }) => data)).toEqual(
        reader.ofType('artifact').map(({ data }) => data),
      )
      expect(both.filter((event) => event.type === 'end')).toHaveLength(1)
      expect(new Set(both.map((event) => event.id)).size).toBe(both.length)
    }
  })

  it('is followed from one process to another while the job runs', async () => {
    const job = await runningJob()
    const all: EventReader['events'] = []
    let lastId = ''
    let at = 0
    for (let part = 0; part < 4; part++) {
      const reader = await follow(job.id, lastId, part % 2)
      at = await print(job, 'stdout', at, `${part} é€`, '𝄞\n')
      await reader.until((r) => glue([...all, ...r.events], 'stdout').endsWith(`${part} é€𝄞\n`))
      reader.close()
      all.push(...reader.events)
      lastId = reader.lastId
    }
    await cancelJob(api.db.admin, job.id)
    const last = await (await follow(job.id, lastId)).untilOver()
    all.push(...last.events)
    expect(glue(all, 'stdout')).toBe('0 é€𝄞\n1 é€𝄞\n2 é€𝄞\n3 é€𝄞\n')
    expect(all.map(({ type }) => type).filter((type) => type !== 'stdout')).toEqual([
      ...['status', 'progress', 'status', 'end'],
    ])
  })

  it('begins anew with another attempt, and with one that was handed back', async () => {
    const first = await runningJob()
    const reader = await follow(first.id)
    await print(first, 'stdout', 0, 'handed back\n')
    await reader.until((r) => r.ofType('stdout').length === 1)
    await releaseJobs(api.db.as('ergon_worker'), [first])
    const second = await worker.claimOne()
    await print(second, 'stdout', 0, 'failed\n')
    await reader.until((r) => glue(r.events, 'stdout') === 'failed\n')
    await failJob(api.db.as('ergon_worker'), {
      ...second,
      ...emptyRecord,
      stdout: 'failed\nat last\n',
      failure: someFailure,
      retryDelayMs: 0,
    })
    await reader.until((r) => glue(r.events, 'stdout') === 'failed\nat last\n')
    await promoteJobs(api.db.as('ergon_worker'))
    const third = await worker.claimOne()
    await print(third, 'stdout', 0, 'good\n')
    await reader.until((r) => glue(r.events, 'stdout') === 'good\n')
    await completeJob(api.db.as('ergon_worker'), { ...third, ...emptyRecord, stdout: 'good\n' })
    await reader.untilOver()
    expect(reader.ofType('stdout').map(({ data }) => data)).toEqual([
      { attempt: 1, offset: 0, text: 'handed back\n' },
      { attempt: 1, offset: 0, text: 'failed\n' },
      { attempt: 1, offset: 7, text: 'at last\n' },
      { attempt: 2, offset: 0, text: 'good\n' },
    ])
    expect(reader.ofType('progress').map(({ data }) => data)).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ phase: 'running', attempt: 1 }),
        expect.objectContaining({ phase: 'running', attempt: 2 }),
      ]),
    )
  })

  it('goes on with a job that was tried again before its end was told', async () => {
    const job = await runningJob()
    await failJob(api.db.as('ergon_worker'), {
      ...job,
      ...emptyRecord,
      failure: someFailure,
      retryDelayMs: null,
      artifacts: [artifact('kept.png')],
    })
    const ended = await (await follow(job.id)).untilOver()
    const [told] = ended.ofType('artifact')
    await retryJob(api.db.admin, job.id)
    const reader = await follow(job.id, told?.id)
    await reader.until((r) => r.ofType('status').length === 1)
    const again = await worker.claimOne()
    await completeJob(api.db.as('ergon_worker'), { ...again, ...emptyRecord })
    await reader.untilOver()
    expect(reader.ofType('artifact')).toHaveLength(1)
    expect(reader.ofType('end')[0]?.data).toMatchObject({ state: 'completed' })
  })

  it('ends when the job is deleted, and there is none to come back to', async () => {
    const job = await runningJob()
    const reader = await follow(job.id)
    await reader.until((r) => r.events.length > 0)
    await api.db.admin.query('delete from jobs.tb_job_run where id = $1', [job.id])
    await reader.untilOver()
    expect(reader.ofType('end')).toEqual([])
    expect(await (await follow(job.id, reader.lastId)).untilOver()).toMatchObject({ status: 404 })
  })

  it('shows that it is there', async () => {
    const job = await runningJob()
    const reader = await follow(job.id)
    await reader.until((r) => r.comments >= 2)
    reader.close()
  })

  it.each(['1', 'nonsense', '1.00000000.0.-.0.0...0.0', '1.1.1\u00e4'])('refuses the id %j', async (lastId) => {
    const job = await runningJob()
    const reader = await (await follow(job.id, lastId)).untilOver()
    expect({ status: reader.status, ...JSON.parse(reader.body) }).toMatchObject({
      status: 422,
      code: 'EVENT_ID_INVALID',
    })
  })

  it('is of no use to another tenant', async () => {
    const job = await runningJob()
    const reader = await EventReader.open(eventsUrl(job.id), api.tokens.b)
    await reader.untilOver()
    expect({ status: reader.status, ...JSON.parse(reader.body) }).toMatchObject({ status: 404, code: 'JOB_NOT_FOUND' })
  })
})

describe('clients', () => {
  it('that are slow are given what they miss from the database, and nothing is kept for them', async () => {
    const size = 10 * 1024 * 1024
    const job = await runningJob()
    await api.db.admin.query(
      `insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes)
       values ($1, 1, 'stdout', 0, convert_to(repeat('0123456789abcde€', ${size} / 18), 'UTF8'))`,
      [job.id],
    )
    await cancelJob(api.db.admin, job.id)
    const sockets: Socket[] = []
    api.app.server.on('connection', (socket) => sockets.push(socket))
    const reader = await follow(job.id)
    reader.pause()
    const [socket] = sockets
    if (socket === undefined) throw new Error('there is no connection')
    // What it takes with nobody reading is what kernels keep.
    let taken = -1
    while (socket.bytesWritten !== taken) {
      taken = socket.bytesWritten
      await new Promise((resolve) => setTimeout(resolve, 300))
    }
    expect(socket.writableLength).toBeLessThan(256 * 1024)
    expect(taken).toBeLessThan(size * 0.8)
    // Nobody reads on, so it is cut off.
    await new Promise<void>((resolve) => (socket.destroyed ? resolve() : socket.once('close', () => resolve())))
    const again = await (await follow(job.id)).untilOver()
    expect(glue(again.events, 'stdout')).toBe('0123456789abcde€'.repeat(Math.floor(size / 18)))
    expect(again.ofType('end')).toHaveLength(1)
  })

  it('may have so many streams open', async () => {
    const job = await runningJob()
    const token = await api.token(['read'], TENANT_A)
    const readers = await Promise.all(Array.from({ length: 41 }, () => EventReader.open(eventsUrl(job.id), token)))
    const [refused, ...more] = readers.filter(({ status }) => status !== 200)
    expect({ more, status: refused?.status }).toEqual({ more: [], status: 429 })
    await refused?.untilOver()
    expect(JSON.parse(refused?.body ?? '')).toMatchObject({ code: 'TOO_MANY_STREAMS' })
    for (const reader of readers) reader.close()
    // Whoever has gone counts no more.
    let status = 429
    while (status !== 200) {
      const reader = await EventReader.open(eventsUrl(job.id), token)
      status = reader.status
      reader.close()
    }
  })

  it('whose token is revoked lose their streams, and nobody else does', async () => {
    const job = await runningJob()
    const token = await api.token(['read'], TENANT_A)
    const stays = await follow(job.id)
    const reader = await EventReader.open(eventsUrl(job.id), token)
    await reader.until((r) => r.events.length > 0)
    const id = token.slice(6, 38).replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
    expect(await revokeToken(api.db.admin, id)).toBe(true)
    // As the listening connection does.
    api.context.tokens.forget(id)
    await reader.untilOver()
    expect((await EventReader.open(eventsUrl(job.id), token, reader.lastId)).status).toBe(401)
    expect(stays.isOver).toBe(false)
    stays.close()
  })

  it('that only listen cost a few statements', async () => {
    const ids = await Promise.all(Array.from({ length: 30 }, () => insertJob(api.db.admin, { tenant_id: TENANT_A })))
    const readers = await Promise.all(ids.map((id) => follow(id)))
    await Promise.all(readers.map((reader) => reader.until((r) => r.ofType('progress').length > 0)))
    const connect = api.pool.connect.bind(api.pool)
    let statements = 0
    api.pool.connect = () => {
      statements++
      return connect()
    }
    await new Promise((resolve) => setTimeout(resolve, 2_000))
    api.pool.connect = connect
    for (const reader of readers) reader.close()
    // 30 streams that each asked four times a second would be 240.
    expect(statements).toBeLessThan(100)
    await api.db.admin.query(`update jobs.tb_job_run set status = 'cancelled' where id = any ($1)`, [ids])
  })
})

it('every stream ends at once when its process stops, with word of when to come back', async () => {
  const job = await runningJob()
  const reader = await follow(job.id, '', 1)
  await reader.until((r) => r.events.length > 0)
  const startedAt = performance.now()
  await other.close()
  await reader.untilOver()
  expect(performance.now() - startedAt).toBeLessThan(5_000)
  expect(reader.retryMs).toBeGreaterThan(0)
  await print(job, 'stdout', 0, 'meanwhile\n')
  const again = await follow(job.id, reader.lastId)
  await again.until((r) => r.events.length > 0)
  expect(again.events[0]).toMatchObject({ type: 'stdout', data: { offset: 0, text: 'meanwhile\n' } })
  again.close()
})
