import { randomUUID } from 'node:crypto'
import { jobPageSchema, jobViewSchema } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OpenWaits } from '../../src/api/live/open-waits.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { as, payload, startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'
import { emptyRecord, insertJob, readRow, someFailure, startWorker, type TestWorker } from './queue-fixture.ts'

let api: TestApi
let worker: TestWorker
beforeAll(async () => {
  api = await startTestApi({ waits: new OpenWaits({ perToken: 2, total: 3 }) })
  worker = await startWorker(api.db.as('ergon_worker'), { lanes: ['sandbox', 'http'] })
})
afterAll(() => api.close())

type Body = object | string
const post = (url: string, body: Body, headers: Record<string, string> = {}, token = api.tokens.a) =>
  api.app.inject({
    method: 'POST',
    url,
    ...as(token, { 'content-type': 'application/json', ...headers }),
    payload: typeof body === 'string' ? body : JSON.stringify(body),
  })
const get = (url: string, token = api.tokens.a) => api.app.inject({ method: 'GET', url, ...as(token) })
const call = (input: object = { words: 'hello' }, more: object = {}) => ({
  service: 'Echo',
  operation: 'say',
  input,
  ...more,
})

async function claim(id: string) {
  const jobs = await worker.claim(100, ['sandbox', 'http'], ['echo', 'executor'])
  const job = jobs.find((each) => each.id === id)
  if (job === undefined) throw new Error(`${id} was not claimed`)
  return job
}

describe('submitting a payload of the job contract', () => {
  it('makes the job that the platform named, and says where it is', async () => {
    const body = payload()
    const answer = await post('/v1/jobs', body)
    expect(answer.statusCode).toBe(201)
    expect(answer.headers['location']).toBe(`/v1/jobs/${body.job_id}`)
    const job = jobViewSchema.parse(answer.json())
    expect(job).toMatchObject({ job_id: body.job_id, status: 'QUEUED', service: 'executor', tenant_id: TENANT_A })
    expect((await claim(body.job_id)).tenantId).toBe(TENANT_A)
  })

  it('keeps every number as it was written', async () => {
    const body = payload()
    const text = JSON.stringify(body).replace(
      '"language":"python"}}}',
      '"language":"python","parameters":{"n":12345678901234567890,"x":1.10}}}}',
    )
    expect((await post('/v1/jobs', text)).statusCode).toBe(201)
    const { rows } = await api.db.admin.query(
      `select input_data #>> '{inputs,object,runtime,parameters}' as text from jobs.tb_job_run where id = $1`,
      [body.job_id],
    )
    expect(rows).toEqual([{ text: '{"n": 12345678901234567890, "x": 1.10}' }])
  })

  it('gives the same job to whoever asks again, and refuses another one of that id', async () => {
    const body = payload()
    await post('/v1/jobs', body)
    expect((await post('/v1/jobs', body)).statusCode).toBe(200)
    const other = await post('/v1/jobs', { ...body, priority: 'high' })
    expect(other.statusCode).toBe(409)
    expect(other.json()).toMatchObject({ code: 'JOB_EXISTS' })
  })

  it.each([
    [{ schema_version: '2.0' }, 'schema_version is "2.0"'],
    [{ jobtype: 'x' }, '/jobtype: there is no such field'],
    [{ limits: { memory_mib: 5 } }, '/limits/memory_mib: there is no such field'],
    [{ limits: { memory_mb: 'lots' } }, '/limits/memory_mb'],
    [{ job_id: '7' }, '/job_id'],
  ])('refuses %o by its place', async (change, words) => {
    const answer = await post('/v1/jobs', { ...payload(), ...change })
    expect(answer.statusCode).toBe(422)
    expect(answer.headers['content-type']).toMatch(/^application\/problem\+json/)
    expect(answer.json<{ detail: string }>().detail).toContain(words)
  })
})

describe('calling a service', () => {
  it('takes all but the input from the registry', async () => {
    const answer = await post('/v1/jobs', call({ words: 'x', n: 1 }, { correlation_id: 'c-1', priority: 10 }))
    expect(answer.statusCode).toBe(201)
    const row = await readRow(api.db.admin, answer.json<{ job_id: string }>().job_id)
    expect(row).toMatchObject({
      service_name: 'Echo',
      operation: 'say',
      execution_type: 'http',
      max_attempts: 2,
      timeout_seconds: 20,
      correlation_id: 'c-1',
      priority: 10,
      input_data: { words: 'x', n: 1 },
    })
  })

  it.each([
    [{ service: 'Ecko', operation: 'say', input: {} }, 422, 'SERVICE_NOT_FOUND'],
    [{ service: 'echo', operation: 'shout', input: {} }, 422, 'OPERATION_NOT_FOUND'],
    [call({}), 422, 'INPUT_INVALID'],
    [call({ words: 'x', wrods: 'y' }), 422, 'INPUT_INVALID'],
    [call({ words: 'x' }, { priorty: 1 }), 422, 'REQUEST_INVALID'],
    [call({ words: 'x' }, { run_at: 'tomorrow' }), 422, 'REQUEST_INVALID'],
  ])('refuses %o', async (body, status, code) => {
    const answer = await post('/v1/jobs', body)
    expect({ status: answer.statusCode, code: answer.json<{ code: string }>().code }).toEqual({ status, code })
  })
})

describe('an Idempotency-Key', () => {
  it('makes one job of many calls at once', async () => {
    const key = { 'idempotency-key': randomUUID() }
    const answers = await Promise.all(Array.from({ length: 8 }, () => post('/v1/jobs', call(), key)))
    expect(new Set(answers.map((answer) => answer.json<{ job_id: string }>().job_id)).size).toBe(1)
    expect(answers.map((answer) => answer.statusCode)).toEqual(answers.map(() => 201))
    expect(answers.filter((answer) => answer.headers['idempotency-replayed'] === 'true')).toHaveLength(7)
  })

  it('is refused for another body, and free again after 24 hours', async () => {
    const key = { 'idempotency-key': randomUUID() }
    await post('/v1/jobs', call(), key)
    const other = await post('/v1/jobs', call({ words: 'other' }), key)
    expect(other.statusCode).toBe(422)
    expect(other.json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
    await api.db.admin.query(
      `update jobs.tb_api_idempotency set created_at = now() - interval '25 hours' where idempotency_key = $1`,
      [key['idempotency-key']],
    )
    expect((await post('/v1/jobs', call({ words: 'other' }), key)).headers['idempotency-replayed']).toBeUndefined()
  })

  it('is not taken by a call that fails', async () => {
    const key = { 'idempotency-key': randomUUID() }
    const body = payload()
    await post('/v1/jobs', body)
    expect((await post('/v1/jobs', { ...body, priority: 'low' }, key)).statusCode).toBe(409)
    expect((await post('/v1/jobs', call(), key)).statusCode).toBe(201)
  })

  it('names the job that there is where the request names one that was submitted before', async () => {
    const key = { 'idempotency-key': randomUUID() }
    const identifier = `mine-${randomUUID()}`
    const first = await post('/v1/jobs', call({ words: 'x' }, { identifier }))
    expect(first.json()).toMatchObject({ identifier: `${TENANT_A}:${identifier}` })
    const id = first.json<{ job_id: string }>().job_id
    for (let time = 0; time < 2; time++) {
      const answer = await post('/v1/jobs', call({ words: 'x' }, { identifier }), key)
      expect(answer.json<{ job_id: string }>().job_id).toBe(id)
    }
  })

  it.each(['', 'ü', 'x'.repeat(256), 'a b'])('is refused when it is %j', async (key) => {
    const answer = await post('/v1/jobs', call(), { 'idempotency-key': key })
    expect(answer.statusCode).toBe(422)
  })
})

describe('a batch', () => {
  it('is submitted whole, in its order', async () => {
    const jobs = [payload(), call(), payload()]
    const answer = await post('/v1/jobs/batch', { jobs })
    expect(answer.statusCode).toBe(201)
    const items = answer.json<{ items: { job_id: string; service: string }[] }>().items
    expect(items.map((item) => item.service)).toEqual(['executor', 'Echo', 'executor'])
    expect(items[0]?.job_id).toBe((jobs[0] as { job_id: string }).job_id)
  })

  it('takes an id for the same however it is spelt', async () => {
    const one = payload()
    const other = { ...one, job_id: one.job_id.toUpperCase() }
    expect((await post('/v1/jobs/batch', { jobs: [one, { ...other, job_type: 'other' }] })).statusCode).toBe(422)
    expect((await post('/v1/jobs', one)).json()).toMatchObject({ job_id: one.job_id })
    expect((await post('/v1/jobs', other)).statusCode).toBe(409)
    expect((await get(`/v1/jobs/${one.job_id.toUpperCase()}`)).json()).toMatchObject({ job_id: one.job_id })
  })

  it('is refused whole', async () => {
    const taken = payload()
    await post('/v1/jobs', taken)
    const mine = payload()
    const answer = await post('/v1/jobs/batch', { jobs: [mine, { ...taken, priority: 'high' }] })
    expect(answer.statusCode).toBe(409)
    expect((await get(`/v1/jobs/${mine.job_id}`)).statusCode).toBe(404)
    for (const jobs of [[], [mine, mine], Array.from({ length: 101 }, () => call())])
      expect((await post('/v1/jobs/batch', { jobs })).statusCode).toBe(422)
  })
})

describe('waiting', () => {
  it('answers as soon as the job has ended, with what it left', async () => {
    const body = payload()
    const answer = post('/v1/jobs?wait=20', body)
    await expect.poll(() => readRow(api.db.admin, body.job_id)).not.toBeNull()
    const job = await claim(body.job_id)
    const follower = get(`/v1/jobs/${body.job_id}?wait=20`)
    const outputJson = '{"result_json": {"n": 12345678901234567890}, "stdout": "hi\\n", "stderr": "", "artifacts": []}'
    await completeJobs(api.db.as('ergon_worker'), [{ ...job, ...emptyRecord, outputJson }])
    for (const ended of [await answer, await follower]) {
      expect(ended.json()).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: 'hi\n' } })
      expect(ended.body).toContain('12345678901234567890')
    }
  })

  it('answers in time with a job that has not', async () => {
    const answer = await post('/v1/jobs?wait=0.2', payload())
    expect(answer.json()).toMatchObject({ status: 'QUEUED' })
    expect((await post('/v1/jobs?wait=51', payload())).statusCode).toBe(422)
  })
})

describe('waiting by many', () => {
  it('is refused to a token that does it often enough, and to all where a process does; nothing is submitted then', async () => {
    const mine = [payload(), payload()]
    const others = payload()
    const waiting = [
      ...mine.map((body) => post('/v1/jobs?wait=50', body)),
      post('/v1/jobs?wait=50', others, {}, api.tokens.b),
    ]
    // Whoever has submitted has its place.
    for (const { job_id: id } of [...mine, others])
      await expect.poll(() => readRow(api.db.admin, id), { timeout: 20_000 }).not.toBeNull()

    const refused = payload()
    const all = await post('/v1/jobs?wait=0.1', refused, {}, api.tokens.b)
    expect({ status: all.statusCode, after: all.headers['retry-after'] }).toEqual({ status: 503, after: '1' })
    expect(all.json()).toMatchObject({ code: 'WAITS_EXHAUSTED' })

    await post(`/v1/jobs/${others.job_id}/cancel`, {}, {}, api.tokens.b)
    expect((await waiting[2])?.json()).toMatchObject({ status: 'CANCELLED' })
    for (const answer of [
      await post('/v1/jobs?wait=0.1', refused),
      await post('/v1/jobs?wait=0.1', refused, { 'idempotency-key': randomUUID() }),
      await get(`/v1/jobs/${mine[0]?.job_id}?wait=0.1`),
    ]) {
      expect({ status: answer.statusCode, after: answer.headers['retry-after'] }).toEqual({ status: 429, after: '2' })
      expect(answer.json()).toMatchObject({ code: 'TOO_MANY_WAITS' })
    }
    expect(await readRow(api.db.admin, refused.job_id)).toBeNull()
    // What does not wait is as ever; what has ended is not waited for.
    expect((await get(`/v1/jobs/${mine[0]?.job_id}`)).statusCode).toBe(200)
    expect((await get(`/v1/jobs/${others.job_id}?wait=1`, api.tokens.b)).statusCode).toBe(200)
    expect((await post('/v1/jobs?wait=0.1', payload(), {}, api.tokens.b)).statusCode).toBe(201)

    for (const { job_id: id } of mine) await post(`/v1/jobs/${id}/cancel`, {})
    for (const answer of await Promise.all(waiting)) expect(answer.statusCode).toBe(201)
    expect((await post('/v1/jobs?wait=0.1', refused)).statusCode).toBe(201)
  })
})

describe('cancel and retry', () => {
  it('change what they may and say what it is otherwise', async () => {
    const { job_id: id } = (await post('/v1/jobs', call())).json<{ job_id: string }>()
    expect((await post(`/v1/jobs/${id}/retry`, {})).json()).toMatchObject({ code: 'JOB_NOT_FAILED' })
    for (let time = 0; time < 2; time++)
      expect((await post(`/v1/jobs/${id}/cancel`, {})).json()).toMatchObject({ status: 'CANCELLED' })
  })

  it('queue a dead letter again', async () => {
    const { job_id: id } = (await post('/v1/jobs', call())).json<{ job_id: string }>()
    const job = await claim(id)
    const failure = { ...someFailure, category: 'USER_CODE_ERROR' as const, code: 'UPSTREAM_STATUS' }
    await failJob(api.db.as('ergon_worker'), {
      ...job,
      ...emptyRecord,
      failure,
      retryDelayMs: null,
      deadLetterReason: 'never again',
    })
    const dead = await get('/v1/dead-letters')
    expect(jobPageSchema.parse(dead.json()).items.map((item) => item.job_id)).toContain(id)
    expect((await post(`/v1/jobs/${id}/cancel`, {})).json()).toMatchObject({ code: 'JOB_FINISHED' })
    expect((await post(`/v1/jobs/${id}/retry`, {})).json()).toMatchObject({ status: 'QUEUED' })
  })
})

describe('a list', () => {
  it('gives every job once, page by page, while others come', async () => {
    const correlation = randomUUID()
    const jobs = Array.from({ length: 25 }, () => call({ words: 'x' }, { correlation_id: correlation }))
    const batch = (await post('/v1/jobs/batch', { jobs })).json<{ items: { job_id: string }[] }>().items
    const seen: string[] = []
    for (let cursor: string | null = ''; cursor !== null; ) {
      const from = cursor === '' ? '' : `&cursor=${cursor}`
      const page = jobPageSchema.parse((await get(`/v1/jobs?correlation_id=${correlation}&limit=10${from}`)).json())
      seen.push(...page.items.map((item) => item.job_id))
      cursor = page.next_cursor
      await post('/v1/jobs', call({ words: 'x' }, { correlation_id: correlation }))
    }
    expect(seen.toSorted()).toEqual(batch.map((item) => item.job_id).toSorted())
  })

  it('bears a job that is never to run', async () => {
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A, run_at: 'infinity' })
    expect((await get('/v1/jobs')).json<{ items: object[] }>().items[0]).toMatchObject({
      job_id: id,
      run_at: '9999-12-31T23:59:59.999Z',
    })
    for (const path of ['', '/logs']) expect((await get(`/v1/jobs/${id}${path}`)).statusCode).toBe(200)
  })

  it.each([
    ['service=ECHO&status=pending', 200],
    ['status=sleeping', 422],
    ['stauts=pending', 422],
    ['cursor=nonsense', 422],
    ['limit=0', 422],
    ['limit=5&limit=6', 422],
    ['created_after=2020-01-01T00:00:00Z&created_before=2020-01-02T00:00:00%2B01:00', 200],
  ])('asked with %s answers %i', async (query, status) => {
    expect((await get(`/v1/jobs?${query}`)).statusCode).toBe(status)
  })
})
