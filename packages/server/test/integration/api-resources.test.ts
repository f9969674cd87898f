import { randomUUID } from 'node:crypto'
import { MAX_LOG_BYTES, type JobLogs, type QueueStatistics } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OpenApiDocument } from '../../src/api/openapi-document.ts'
import { openRegistryText } from '../../src/control/registry-file.ts'
import { VALID_REGISTRY } from '../../src/registry/registry.fixture.ts'
import { leaveArtifact } from './api-artifacts-fixture.ts'
import { as, startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'
import { emptyQueue, insertJob, startLimitedWorker } from './queue-fixture.ts'

const SECRET = `sk_live_${'4'.repeat(24)}`
const registry = openRegistryText(
  VALID_REGISTRY.replace('{amount: number}', `{type: object, properties: {key: {type: string, default: ${SECRET}}}}`),
  'registry.yaml',
  'development',
)
let api: TestApi
beforeAll(async () => {
  api = await startTestApi({
    registry: () => registry,
    listEnvironments: () =>
      Promise.resolve([
        { name: 'python-sci', env_version: `python-sci@${'a'.repeat(64)}`, language: 'python', is_default: true },
      ]),
  })
})
afterAll(() => api.close())

const get = (url: string, token = api.tokens.a) => api.app.inject({ method: 'GET', url, ...as(token) })

async function write(
  id: string,
  attempt: number,
  stream: string,
  offset: number,
  bytes: string | Buffer,
): Promise<void> {
  await api.db.admin.query(
    'insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes) values ($1, $2, $3, $4, $5)',
    [id, attempt, stream, offset, Buffer.from(bytes)],
  )
}
const end = (id: string) =>
  api.db.admin.query(
    `begin; set local session_replication_role = replica; update jobs.tb_job_run set status = 'completed' where id = '${id}'; commit`,
  )

describe('logs', () => {
  const logs = async (id: string, query = '') => (await get(`/v1/jobs/${id}/logs?${query}`)).json<JobLogs>()

  it('come a piece at a time, without a byte twice or left out, and begin anew with an attempt', async () => {
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A })
    expect(await logs(id)).toEqual({
      job_id: id,
      status: 'QUEUED',
      attempt: 0,
      stdout: { offset: 0, text: '', next_offset: 0 },
      stderr: { offset: 0, text: '', next_offset: 0 },
      is_complete: false,
    })
    await write(id, 1, 'stdout', 0, 'one ')
    await write(id, 1, 'stdout', 4, 'two')
    await write(id, 1, 'stderr', 0, 'oh')
    // Behind a gap, which the final text will fill.
    await write(id, 1, 'stdout', 9, 'four')
    const first = await logs(id)
    expect(first).toMatchObject({ attempt: 1, stdout: { text: 'one two', next_offset: 7 }, stderr: { text: 'oh' } })
    expect(await logs(id, 'attempt=1&stdout_offset=5&stderr_offset=2')).toMatchObject({
      stdout: { offset: 5, text: 'wo', next_offset: 7 },
      stderr: { offset: 2, text: '', next_offset: 2 },
    })
    await write(id, 2, 'stdout', 0, 'again')
    expect(await logs(id, 'attempt=1&stdout_offset=7')).toMatchObject({
      attempt: 2,
      stdout: { offset: 0, text: 'again' },
    })
    expect(await logs(id, 'stdout_offset=2')).toMatchObject({ attempt: 2, stdout: { offset: 2, text: 'ain' } })
    await end(id)
    expect(await logs(id, 'attempt=2&stdout_offset=5')).toMatchObject({
      status: 'SUCCEEDED',
      stdout: { offset: 5, text: '' },
      is_complete: true,
    })
  })

  it('of many bytes are bounded, and no character is cut in two', async () => {
    const text = 'ä€𝄞'.repeat(100_000)
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A })
    await write(id, 1, 'stdout', 0, text)
    await end(id)
    let read = ''
    let at = 0
    for (let turns = 0; turns < 10; turns++) {
      const piece = await logs(id, `attempt=1&stdout_offset=${at}`)
      expect(Buffer.byteLength(piece.stdout.text)).toBeLessThanOrEqual(MAX_LOG_BYTES)
      read += piece.stdout.text
      at = piece.stdout.next_offset
      if (piece.is_complete) break
    }
    expect(read === text).toBe(true)
  })

  it('of another tenant are not there', async () => {
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A })
    await write(id, 1, 'stdout', 0, 'mine')
    expect((await get(`/v1/jobs/${id}/logs`, api.tokens.b)).statusCode).toBe(404)
    for (const query of ['stdout_offset=-1', 'stdout_offset=1e99', 'attempt=x', 'offset=1'])
      expect([query, (await get(`/v1/jobs/${id}/logs?${query}`)).statusCode]).toEqual([query, 422])
    expect(await logs(id, `stdout_offset=${Number.MAX_SAFE_INTEGER}`)).toMatchObject({ stdout: { text: '' } })
  })
})

it('lists the artifacts of a job to its tenant alone', async () => {
  const jobId = await insertJob(api.db.admin, { tenant_id: TENANT_A })
  const url = `/v1/jobs/${jobId}/artifacts`
  expect((await get(url)).json()).toEqual({ items: [] })
  const { id, digest } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'x', jobId })
  const artifact = { artifact_id: id, digest, size_bytes: 1, metadata: { name: 'plot.png' } }
  expect((await get(url)).json()).toMatchObject({ items: [artifact] })
  expect((await get(`/v1/artifacts/${id}`)).json()).toMatchObject(artifact)
  expect((await get(url, api.tokens.b)).statusCode).toBe(404)
  expect((await get(`/v1/jobs/${randomUUID()}/artifacts`)).statusCode).toBe(404)
})

describe('services', () => {
  it('are listed, and shown with what their operations take', async () => {
    const { items } = (await get('/v1/services')).json<{ items: { name: string }[] }>()
    expect(items.map(({ name }) => name)).toEqual(['Stripe', 'report', 'convert', 'resize', 'fit'])
    expect((await get('/v1/services/FIT')).json()).toEqual({
      name: 'fit',
      type: 'computation',
      category: 'science',
      description: null,
      execution_type: 'sandbox',
      is_served: true,
      operations: [
        {
          name: 'line',
          description: null,
          input_schema: registry.operationOf('fit', 'line').schemas.input.schema,
          output_schema: registry.operationOf('fit', 'line').schemas.output.schema,
          timeout_seconds: 20,
          max_attempts: 4,
          on_worker_lost: null,
        },
      ],
      limits: { rate_limit_per_minute: null, max_concurrent: null, max_invocations_per_hour: null },
    })
    expect((await get('/v1/services/stripe')).json()).toMatchObject({ limits: { rate_limit_per_minute: 60 } })
  })

  it('do not say where they run, with what credentials, nor what looks like a secret', async () => {
    const shown = await Promise.all(
      ['Stripe', 'report', 'convert', 'resize', 'fit'].map((name) => get(`/v1/services/${name}`)),
    )
    const text = [...shown, await get('/v1/services')].map(({ body }) => body).join('\n')
    for (const inside of [
      'api.stripe.com',
      'STRIPE_TOKEN',
      'ACCOUNT',
      '/usr/bin/report',
      '/srv/media',
      'example.org',
      'eu-central-1',
      SECRET,
    ])
      expect(text).not.toContain(inside)
    expect(text).not.toMatch(/runner_config|security_policy|auth|allowed_|volumes|image/)
    expect(text).toContain('[redacted]')
  })
})

describe('what a path names and is not there', () => {
  const ABSENT: Record<string, string> = {
    job_id: randomUUID(),
    artifact_id: randomUUID(),
    callback_id: '1',
    service: '__proto__',
  }

  it('is 404 for every route', async () => {
    const { paths } = (await api.app.inject('/openapi.json')).json<OpenApiDocument>()
    const operations = Object.entries(paths)
      .filter(([path]) => path.includes('{'))
      .flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, { responses }]) => ({ path, method, responses })),
      )
    expect(operations.length).toBeGreaterThan(10)
    for (const { path, method, responses } of operations) {
      const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => ABSENT[name] ?? name)
      const sent = method === 'post' && path.endsWith('signed-url') ? { payload: {} } : {}
      const answer = await api.app.inject({ method: method as 'get', url, ...as(api.tokens.all), ...sent })
      const code = expect.stringMatching(/^(JOB|ARTIFACT|CALLBACK|SERVICE)_NOT_FOUND$/)
      expect([method, url, answer.json()]).toEqual([method, url, expect.objectContaining({ status: 404, code })])
      expect([method, url, answer.statusCode]).toEqual([method, url, 404])
      expect([path, Object.keys(responses)]).toEqual([path, expect.arrayContaining(['404', '422'])])
    }
  })

  it('is 422 where it can be no id', async () => {
    expect((await get('/v1/jobs/first')).json()).toMatchObject({ status: 422, code: 'REQUEST_INVALID' })
  })
})

it('lists the environments', async () => {
  expect((await get('/v1/environments')).json()).toMatchObject({ items: [{ name: 'python-sci', is_default: true }] })
})

describe('what operators look at', () => {
  it('is the workers, for tokens of all tenants', async () => {
    await emptyQueue(api.db.admin)
    const worker = await startLimitedWorker(api.db.as('ergon_worker'), { maxConcurrent: 1 }, { slots: 7 })
    for (let n = 0; n < 3; n++) await insertJob(api.db.admin, { tenant_id: TENANT_A })
    expect(await worker.claim(10)).toHaveLength(1)
    const { items } = (await get('/v1/workers', api.tokens.all)).json<{ items: object[] }>()
    expect(items).toEqual([
      {
        worker_id: worker.id,
        name: 'test',
        version: '0',
        lanes: ['http'],
        slots: 7,
        running: 1,
        is_draining: false,
        is_alive: true,
        registered_at: expect.any(String),
        heartbeat_at: expect.any(String),
      },
    ])
    expect((await get('/v1/workers', api.tokens.a)).statusCode).toBe(403)
    const statistics = (await get('/v1/queue', api.tokens.all)).json<QueueStatistics>()
    const stripe = statistics.services.find(({ service }) => service === 'stripe')
    expect(stripe).toMatchObject({ operation: 'charge', running: 1, oldest_age_seconds: expect.any(Number) })
    expect(stripe?.gated).toBeGreaterThanOrEqual(2)
    expect(statistics.lanes.find(({ lane }) => lane === 'http')).toMatchObject({ executing: 1, gated: stripe?.gated })
    const none = (await get('/v1/queue', api.tokens.b)).json<QueueStatistics>()
    expect([none.services, none.lanes]).toEqual([[], []])
  })

  it.each(['/v1/workers', '/v1/queue'])('%s needs the scope admin', async (url) => {
    expect((await get(url, await api.token(['read', 'submit', 'cancel', 'artifacts'], null))).statusCode).toBe(403)
  })
})
