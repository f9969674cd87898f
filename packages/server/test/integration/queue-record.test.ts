import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { appendOutput } from '../../src/queue/append-output.ts'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJob, completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { promoteJobs } from '../../src/queue/promote.ts'
import { registerArtifacts } from '../../src/queue/register-artifacts.ts'
import { registerDataset } from '../../src/queue/register-dataset.ts'
import { releaseJobs } from '../../src/queue/release.ts'
import { resolveDatasets } from '../../src/queue/resolve-datasets.ts'
import type { ArtifactRecord } from '../../src/queue/types.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import {
  emptyRecord,
  insertJob,
  readLate,
  readLive,
  readRow,
  scalar,
  someFailure,
  startWorker,
  type TestWorker,
} from './queue-fixture.ts'

let db: TestDatabase
let worker: TestWorker
beforeAll(async () => {
  db = await createTestDatabase()
  worker = await startWorker(db.as('ergon_worker'))
})
afterAll(() => db.drop())

const digestOf = (letter: string) => `sha256:${letter.repeat(64)}`
const artifact = (digest: string): ArtifactRecord => ({
  artifact_id: randomUUID(),
  kind: 'plot',
  format: 'png',
  digest,
  size_bytes: 10,
  content_type: 'image/png',
  metadata: { name: 'plot.png', width: 4, height: 3 },
})

async function claimNew(columns: Readonly<Record<string, unknown>> = {}) {
  const id = await insertJob(db.as('ergon_enqueue'), columns)
  const job = await worker.claimOne()
  expect(job.id).toBe(id)
  return job
}

async function outputOf(id: string): Promise<string[]> {
  const { rows } = await db.admin.query(
    `select stream || '@' || attempt || '+' || "offset" || ':' || convert_from(bytes, 'UTF8') as line
     from jobs.tb_job_output where job_id = $1 order by attempt, stream, "offset"`,
    [id],
  )
  return rows.map((row) => String(Object(row).line))
}

describe('completeJob', () => {
  it('records the result, the final output and the artifacts at once', async () => {
    const job = await claimNew()
    const made = artifact(digestOf('a'))
    const as = db.as('ergon_worker')
    expect(await appendOutput(as, { id: job.id, fence: job.fence, stream: 'stdout', offset: 0, text: 'hal' })).toBe(
      true,
    )
    expect(await appendOutput(as, { id: job.id, fence: job.fence, stream: 'stdout', offset: 0, text: 'hal' })).toBe(
      true,
    )
    expect(await appendOutput(as, { id: job.id, fence: job.fence, stream: 'stdout', offset: 3, text: 'lö' })).toBe(true)
    expect(await outputOf(job.id)).toEqual(['stdout@1+0:hal', 'stdout@1+3:lö'])
    const accepted = await completeJob(as, {
      id: job.id,
      fence: job.fence,
      outputJson: '{"big": 12345678901234567890, "one": 1.0}',
      resourceUsage: { cpu_ms: 5 },
      envVersion: 'python-sci@1',
      logs: [{ level: 'warn', message: 'careful' }],
      stdout: 'hallö',
      stderr: '',
      artifacts: [made],
    })
    expect(accepted).toBe(true)
    expect(await readLive(db.admin, job.id)).toBeNull()
    expect(await readRow(db.admin, job.id)).toMatchObject({
      status: 'completed',
      resource_usage: { cpu_ms: 5 },
      env_version: 'python-sci@1',
      logs: [{ level: 'warn', message: 'careful' }],
      failure: null,
      completed_at: expect.any(Date),
    })
    expect(await scalar(db.admin, 'select output_data::text from jobs.tb_job_run where id = $1', [job.id])).toBe(
      '{"big": 12345678901234567890, "one": 1.0}',
    )
    expect(await outputOf(job.id)).toEqual(['stdout@1+0:hallö'])
    const { rows } = await db.admin.query(
      'select artifact_id, name, attempt, metadata from jobs.tb_artifact where job_id = $1',
      [job.id],
    )
    expect(rows).toEqual([
      { artifact_id: made.artifact_id, name: 'plot.png', attempt: 1, metadata: { width: 4, height: 3 } },
    ])
  })

  it('takes the good of a batch and counts the late', async () => {
    const good = await claimNew()
    const late = await claimNew()
    const accepted = await completeJobs(db.as('ergon_worker'), [
      { ...emptyRecord, id: late.id, fence: randomUUID(), stdout: 'forged' },
      { ...emptyRecord, id: good.id, fence: randomUUID(), stdout: 'forged' },
      { ...emptyRecord, id: good.id, fence: good.fence, stdout: 'real' },
    ])
    expect([...accepted]).toEqual([good.id])
    expect(await readRow(db.admin, late.id)).toMatchObject({ status: 'running' })
    expect(await readLate(db.admin, late.id)).toEqual({ complete: 1 })
    expect(await readLate(db.admin, good.id)).toEqual({ complete: 1 })
    expect(await outputOf(good.id)).toEqual(['stdout@1+0:real'])
  })

  it('refuses a value that jsonb cannot hold and changes nothing', async () => {
    const job = await claimNew()
    const completion = { ...emptyRecord, id: job.id, fence: job.fence, outputJson: '{"x": "\\u0000"}' }
    await expect(completeJob(db.as('ergon_worker'), completion)).rejects.toMatchObject({ code: '22P05' })
    expect(await readRow(db.admin, job.id)).toMatchObject({ status: 'running' })
  })
})

describe('a fence that is gone', () => {
  it('lets nothing through, and all of it is counted', async () => {
    const job = await claimNew()
    expect(await cancelJob(db.as('ergon_enqueue'), job.id)).toBe('cancelled')
    const before = await readRow(db.admin, job.id)
    const as = db.as('ergon_worker')
    expect(
      await completeJob(as, { ...emptyRecord, id: job.id, fence: job.fence, artifacts: [artifact(digestOf('b'))] }),
    ).toBe(false)
    expect(
      await failJob(as, { ...emptyRecord, id: job.id, fence: job.fence, failure: someFailure, retryDelayMs: 0 }),
    ).toBe('late')
    expect(await appendOutput(as, { id: job.id, fence: job.fence, stream: 'stderr', offset: 0, text: 'x' })).toBe(false)
    expect(await registerArtifacts(as, job, [artifact(digestOf('c'))])).toBe(false)
    expect(await releaseJobs(as, [job])).toBe(0)
    expect(await resolveDatasets(as, { id: job.id, fence: job.fence, digests: [digestOf('a')] })).toEqual([])
    expect(await readRow(db.admin, job.id)).toEqual(before)
    expect(await readLate(db.admin, job.id)).toEqual({ complete: 1, fail: 1, append_output: 1, register_artifacts: 1 })
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_artifact where job_id = $1', [job.id])).toBe(0)
    expect(await outputOf(job.id)).toEqual([])
  })
})

describe('failJob', () => {
  const fail = (job: { id: string; fence: string }, retryDelayMs: number | null) =>
    failJob(db.as('ergon_worker'), {
      ...emptyRecord,
      id: job.id,
      fence: job.fence,
      failure: someFailure,
      retryDelayMs,
      stdout: 'last words',
    })

  it('schedules the next attempt, keeps a row of the failed one, and ends when none is left', async () => {
    const first = await claimNew({ max_attempts: 2 })
    expect(await fail(first, 60_000)).toBe('retried')
    expect(await readRow(db.admin, first.id)).toMatchObject({
      status: 'pending',
      failure_code: 'UPSTREAM_TIMEOUT',
      error_message: 'no answer',
      started_at: null,
      dead_letter_reason: null,
    })
    expect(await readLive(db.admin, first.id)).toMatchObject({
      state: 'scheduled',
      attempt: 1,
      worker_id: null,
      fence: null,
    })
    const waitMs = await scalar(
      db.admin,
      'select (extract(epoch from run_at - updated_at) * 1000)::float8 from jobs.tb_job_run where id = $1',
      [first.id],
    )
    expect(waitMs).toBeCloseTo(60_000, -2)
    expect(await promoteJobs(db.as('ergon_worker'))).toBe(0)
    await db.admin.query(`update jobs.tb_job_queue set run_at = now() where job_id = $1`, [first.id])
    expect(await promoteJobs(db.as('ergon_worker'))).toBe(1)

    const second = await worker.claimOne()
    expect(second).toMatchObject({ id: first.id, attempt: 2 })
    expect(second.fence).not.toBe(first.fence)
    expect(await readRow(db.admin, first.id)).toMatchObject({ status: 'running', failure: null, error_message: null })
    expect(await fail(second, 60_000)).toBe('failed')
    expect(await readRow(db.admin, first.id)).toMatchObject({
      status: 'failed',
      attempts: 2,
      failure: someFailure,
      dead_letter_reason: 'ATTEMPTS_EXHAUSTED',
      dead_lettered_at: expect.any(Date),
    })
    const { rows } = await db.admin.query(
      'select attempt, outcome, failure, worker_id from jobs.tb_job_attempt where job_id = $1 order by attempt',
      [first.id],
    )
    expect(rows).toEqual(
      [1, 2].map((attempt) => ({ attempt, outcome: 'failed', failure: someFailure, worker_id: worker.id })),
    )
    expect(await outputOf(first.id)).toEqual(['stdout@1+0:last words', 'stdout@2+0:last words'])
  })

  it('ends at once when the failure is not to be retried', async () => {
    const job = await claimNew({ max_attempts: 9 })
    expect(await fail(job, null)).toBe('failed')
    expect(await readRow(db.admin, job.id)).toMatchObject({
      status: 'failed',
      attempts: 1,
      dead_letter_reason: 'NOT_RETRYABLE',
    })
    expect(await readLive(db.admin, job.id)).toBeNull()
  })

  it('leaves no row of an attempt for a job that succeeds at once', async () => {
    const job = await claimNew()
    await completeJob(db.as('ergon_worker'), { ...emptyRecord, id: job.id, fence: job.fence })
    expect(await scalar(db.admin, 'select count(*)::int from jobs.tb_job_attempt where job_id = $1', [job.id])).toBe(0)
  })
})

describe('releaseJobs', () => {
  it('hands a job back uncounted, without the output it had', async () => {
    const job = await claimNew({ max_attempts: 1 })
    await appendOutput(db.as('ergon_worker'), { id: job.id, fence: job.fence, stream: 'stdout', offset: 0, text: 'x' })
    expect(await releaseJobs(db.as('ergon_worker'), [job])).toBe(1)
    expect(await readRow(db.admin, job.id)).toMatchObject({ status: 'pending', attempts: 0, started_at: null })
    expect(await outputOf(job.id)).toEqual([])
    const again = await worker.claimOne()
    expect(again).toMatchObject({ id: job.id, attempt: 1 })
    await completeJob(db.as('ergon_worker'), { ...emptyRecord, id: again.id, fence: again.fence })
  })
})

describe('datasets', () => {
  it('are those of the job’s own tenant', async () => {
    const [tenant, stranger] = [randomUUID(), randomUUID()]
    const [uploaded, made, foreign] = [digestOf('1'), digestOf('2'), digestOf('3')]
    const upload = (tenantId: string, digest: string) =>
      registerDataset(db.admin, {
        tenantId,
        digest,
        name: 'd.csv',
        format: 'csv',
        sizeBytes: 1,
        contentType: 'text/csv',
      })
    const first = await upload(tenant, uploaded)
    expect(await upload(tenant, uploaded)).toBe(first)
    await upload(stranger, foreign)
    const maker = await claimNew({ tenant_id: tenant })
    expect(await registerArtifacts(db.as('ergon_worker'), maker, [artifact(made)])).toBe(true)
    const job = await claimNew({ tenant_id: tenant })
    const resolved = await resolveDatasets(db.as('ergon_worker'), {
      id: job.id,
      fence: job.fence,
      digests: [uploaded, made, foreign, digestOf('4')],
    })
    expect(resolved.toSorted()).toEqual([uploaded, made])
  })

  it('are immutable, even to a superuser', async () => {
    await expect(db.admin.query(`update jobs.tb_artifact set name = 'other'`)).rejects.toMatchObject({
      code: 'ARTIFACT_IMMUTABLE',
    })
  })
})
