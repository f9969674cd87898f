import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { releaseJobs } from '../../src/queue/release.ts'
import { retryJob } from '../../src/queue/retry.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { TENANT_A } from './api-fixture.ts'
import { glue, type LiveTest, startLiveTest } from './live-fixture.ts'
import { emptyRecord, insertJob, someFailure } from './queue-fixture.ts'

let live: LiveTest
beforeAll(async () => {
  live = await startLiveTest({ heartbeatMs: 300 })
})
afterAll(() => live.close())

const artifact = (name: string) => ({
  artifact_id: randomUUID(),
  kind: 'plot',
  format: 'png',
  digest: `sha256:${'ab'.repeat(32)}`,
  size_bytes: 3,
  content_type: 'image/png',
  metadata: { name, width: 1, height: 1 },
})

describe('a stream of a job', () => {
  it('tells everything in order, goes on behind every event, and is over after the end', async () => {
    const id = await insertJob(live.api.db.admin, { tenant_id: TENANT_A })
    const reader = await live.follow(id.toUpperCase())
    expect(reader.headers).toMatchObject({ 'content-type': 'text/event-stream', 'cache-control': 'no-store' })
    await reader.until((r) => r.ofType('progress').length === 1)
    expect(reader.events[0]).toMatchObject({ type: 'status', data: { job_id: id, state: 'pending', attempts: 0 } })
    expect(reader.events[1]?.data).toMatchObject({ phase: 'waiting', reason: 'a worker with a free slot' })

    const job = await live.worker.claimOne()
    await reader.until((r) => r.ofType('status').length === 2)
    let at = await live.print(job, 'stdout', 0, 'ä€𝄞\n', 'zwei\n')
    await reader.until((r) => glue(r.events, 'stdout').includes('zwei'))
    const errors = await live.print(job, 'stderr', 0, 'warning\n')
    at = await live.print(job, 'stdout', at, 'drei\n')
    await reader.until((r) => glue(r.events, 'stdout').includes('drei') && r.ofType('stderr').length === 1)
    expect(errors).toBe(8)
    await completeJob(live.api.db.as('ergon_worker'), {
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
      const rest = await live.follow(id, lastId, index % 2)
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
    const job = await live.runningJob()
    const all: EventReader['events'] = []
    let lastId = ''
    let at = 0
    for (let part = 0; part < 4; part++) {
      const reader = await live.follow(job.id, lastId, part % 2)
      at = await live.print(job, 'stdout', at, `${part} é€`, '𝄞\n')
      await reader.until((r) => glue([...all, ...r.events], 'stdout').endsWith(`${part} é€𝄞\n`))
      reader.close()
      all.push(...reader.events)
      lastId = reader.lastId
    }
    await cancelJob(live.api.db.admin, job.id)
    const last = await (await live.follow(job.id, lastId)).untilOver()
    all.push(...last.events)
    expect(glue(all, 'stdout')).toBe('0 é€𝄞\n1 é€𝄞\n2 é€𝄞\n3 é€𝄞\n')
    expect(all.map(({ type }) => type).filter((type) => type !== 'stdout')).toEqual([
      ...['status', 'progress', 'status', 'end'],
    ])
  })

  it('begins anew with another attempt, and with one that was handed back', async () => {
    const first = await live.runningJob()
    const reader = await live.follow(first.id)
    await live.print(first, 'stdout', 0, 'handed back\n')
    await reader.until((r) => r.ofType('stdout').length === 1)
    await releaseJobs(live.api.db.as('ergon_worker'), [first])
    const second = await live.worker.claimOne()
    await live.print(second, 'stdout', 0, 'failed\n')
    await reader.until((r) => glue(r.events, 'stdout') === 'failed\n')
    await failJob(live.api.db.as('ergon_worker'), {
      ...second,
      ...emptyRecord,
      stdout: 'failed\nat last\n',
      failure: someFailure,
      retryDelayMs: 0,
    })
    await reader.until((r) => glue(r.events, 'stdout') === 'failed\nat last\n')
    await promoteJobs(live.api.db.as('ergon_worker'))
    const third = await live.worker.claimOne()
    await live.print(third, 'stdout', 0, 'good\n')
    await reader.until((r) => glue(r.events, 'stdout') === 'good\n')
    await completeJob(live.api.db.as('ergon_worker'), { ...third, ...emptyRecord, stdout: 'good\n' })
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
    const job = await live.runningJob()
    await failJob(live.api.db.as('ergon_worker'), {
      ...job,
      ...emptyRecord,
      failure: someFailure,
      retryDelayMs: null,
      artifacts: [artifact('kept.png')],
    })
    const ended = await (await live.follow(job.id)).untilOver()
    const [told] = ended.ofType('artifact')
    await retryJob(live.api.db.admin, job.id)
    const reader = await live.follow(job.id, told?.id)
    await reader.until((r) => r.ofType('status').length === 1)
    const again = await live.worker.claimOne()
    await completeJob(live.api.db.as('ergon_worker'), { ...again, ...emptyRecord })
    await reader.untilOver()
    expect(reader.ofType('artifact')).toHaveLength(1)
    expect(reader.ofType('end')[0]?.data).toMatchObject({ state: 'completed' })
  })

  it('ends when the job is deleted, and there is none to come back to', async () => {
    const job = await live.runningJob()
    const reader = await live.follow(job.id)
    await reader.until((r) => r.events.length > 0)
    await live.api.db.admin.query('delete from jobs.tb_job_run where id = $1', [job.id])
    await reader.untilOver()
    expect(reader.ofType('end')).toEqual([])
    expect(await (await live.follow(job.id, reader.lastId)).untilOver()).toMatchObject({ status: 404 })
  })

  it('shows that it is there', async () => {
    const job = await live.runningJob()
    const reader = await live.follow(job.id)
    await reader.until((r) => r.comments >= 2)
    expect(reader.isOver).toBe(false)
    reader.close()
  })

  it.each(['1', 'nonsense', '1.00000000.0.-.0.0...0.0', '1.1.1\u00e4'])('refuses the id %j', async (lastId) => {
    const job = await live.runningJob()
    const reader = await (await live.follow(job.id, lastId)).untilOver()
    expect({ status: reader.status, ...JSON.parse(reader.body) }).toMatchObject({
      status: 422,
      code: 'EVENT_ID_INVALID',
    })
  })

  it('is of no use to another tenant', async () => {
    const job = await live.runningJob()
    const reader = await EventReader.open(live.url(job.id), live.api.tokens.b)
    await reader.untilOver()
    expect({ status: reader.status, ...JSON.parse(reader.body) }).toMatchObject({ status: 404, code: 'JOB_NOT_FOUND' })
  })
})
