import { randomUUID } from 'node:crypto'
import { request as httpRequest } from 'node:http'
import { type ExecuteAnswer, executeAnswerSchema } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { composeJob } from '../../src/api/facade/compose-job.ts'
import { Executions } from '../../src/api/facade/executions.ts'
import { FACADE_TENANT, type FacadeRules } from '../../src/api/facade/facade-rules.ts'
import { composeJobRow } from '../../src/control/submission.ts'
import { EXECUTOR_POLICY } from '../../src/domain/sandbox-policy.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'

const RULES: FacadeRules = { hosts: [], ceilings: EXECUTOR_POLICY.limits, seesEnvironments: false }
const LISTED = 'https://app.example.org'
const PROGRAM = { code: 'print(1)' }

interface Got {
  status: number
  answer: ExecuteAnswer
  headers: Record<string, string | string[] | undefined>
}

/** There is no worker: what becomes a job is not run. */
describe('the facade', () => {
  let api: TestApi
  let port = 0
  beforeAll(async () => {
    api = await startTestApi({ facade: RULES })
    port = Number(new URL(await api.app.listen({ host: '127.0.0.1', port: 0 })).port)
  })
  afterAll(() => api.close())

  /** With node's own client, which sends the Host that it is told. */
  function send(body: string | Buffer, headers: Record<string, string> = {}, signal?: AbortSignal): Promise<Got> {
    return new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          host: '127.0.0.1',
          port,
          method: 'POST',
          path: '/execute/python',
          headers: { 'content-type': 'application/json', ...headers },
          ...(signal === undefined ? {} : { signal }),
        },
        (response) => {
          const chunks: Buffer[] = []
          response.on('data', (chunk: Buffer) => chunks.push(chunk))
          response.once('error', reject)
          response.once('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              answer: executeAnswerSchema.parse(JSON.parse(Buffer.concat(chunks).toString('utf8'))),
              headers: response.headers,
            }),
          )
        },
      )
      request.once('error', reject)
      request.end(body)
    })
  }
  const call = (body: unknown, headers: Record<string, string> = {}) => send(JSON.stringify(body), headers)

  async function jobsOf(tenantId: string | null): Promise<{ id: string; status: string }[]> {
    const { rows } = await api.db.admin.query(
      'select id, status from jobs.tb_job_run where tenant_id is not distinct from $1 order by created_at, id',
      [tenantId],
    )
    return rows as { id: string; status: string }[]
  }

  test.each([
    ['no code', { timeoutSeconds: 5 }, 'code'],
    ['empty code', { code: '' }, 'code: expected at least one character'],
    ['code that is no text', { code: 1 }, 'code'],
    ['200 001 characters', { code: '\u{1F600}'.repeat(200_001) }, 'it has 200001'],
    ['NUL', { code: 'a = 1\u0000' }, 'U+0000 at position 5'],
    ['half of a pair', { code: 'a = "\uD83D"' }, 'half of a surrogate pair'],
    ['no time', { ...PROGRAM, timeoutSeconds: 0 }, 'timeoutSeconds'],
    ['too much time', { ...PROGRAM, timeout_seconds: 61 }, 'timeout_seconds'],
    ['a part of a second', { ...PROGRAM, timeoutSeconds: 1.5 }, 'timeoutSeconds'],
    ['time in words', { ...PROGRAM, timeoutSeconds: '5' }, 'timeoutSeconds'],
    ['no object', [PROGRAM], 'expected object'],
  ])('answers 422 to %s', async (_what, body, words) => {
    const { status, answer } = await call(body)
    expect(status).toBe(422)
    expect({ ...answer, stderr: '' } satisfies ExecuteAnswer).toEqual({
      executionId: '',
      status: 'error',
      stdout: '',
      stderr: '',
      exitCode: null,
      durationMs: 0,
      errorCategory: 'VALIDATION_ERROR',
      artifacts: [],
    })
    expect(answer.stderr).toContain(words)
  })

  test.each([
    ['what is no JSON', '{', {}],
    ['nothing', '', {}],
    ['bytes that are no text', Buffer.from([0x22, 0xff, 0x22]), {}],
    [
      'another media type, as a form or a page without leave could send',
      '{"code":"1"}',
      { 'content-type': 'text/plain' },
    ],
    ['more than any program needs', `{"code":"${'x'.repeat(2_500_000)}"}`, {}],
    ['a prototype', '{"code":"1","__proto__":{}}', {}],
  ])('answers 422 to %s', async (_what, body, headers) => {
    const { status, answer } = await send(body, headers)
    expect(status).toBe(422)
    expect(answer).toMatchObject({ executionId: '', errorCategory: 'VALIDATION_ERROR' })
  })

  test.each([
    ['a Host that leads here by somebody’s name server', { host: 'rebound.test' }, 'its Host'],
    ['a page of another origin', { origin: 'https://evil.test' }, 'may not call'],
    ['a page without an origin', { origin: 'null' }, 'may not call'],
    ['a proxy', { 'x-forwarded-for': '127.0.0.1' }, 'through a proxy'],
  ])('answers 403 to %s, whose code becomes no job', async (_what, headers, words) => {
    const { status, answer } = await call(PROGRAM, headers)
    expect({ status, category: answer.errorCategory }).toEqual({ status: 403, category: 'VALIDATION_ERROR' })
    expect(answer.stderr).toContain(words)
    expect(await jobsOf(FACADE_TENANT)).toEqual([])
  })

  test.each([
    ['no good token', () => 'ergon_x', 401],
    ['a token that may only read', () => api.token(['read'], TENANT_A), 403],
  ])('answers to %s as to nobody, also from this machine', async (_what, token, expected) => {
    const { status, answer } = await call(PROGRAM, { authorization: `Bearer ${await token()}` })
    expect({ status, category: answer.errorCategory }).toEqual({ status: expected, category: 'VALIDATION_ERROR' })
    expect(await jobsOf(TENANT_A)).toEqual([])
  })

  test('answers 503 when there is no worker, says so in its health, and leaves no job behind', async () => {
    const health = await fetch(`http://127.0.0.1:${port}/health/executor`)
    expect({ status: health.status, health: await health.json() }).toEqual({
      status: 200,
      health: { status: 'unavailable', backend: 'ergon', reason: 'no worker serves sandboxed jobs' },
    })
    const { status, answer, headers } = await call(PROGRAM)
    expect(status).toBe(503)
    expect(headers['retry-after']).toBe('1')
    expect(answer).toMatchObject({ executionId: '', status: 'error', errorCategory: 'INTERNAL_ERROR' })
    expect(answer.stderr).toContain('no worker serves sandboxed jobs')
    expect(await jobsOf(FACADE_TENANT)).toMatchObject([{ status: 'cancelled' }])
  })

  test('takes a token from anywhere, and the jobs are its tenant’s', async () => {
    const headers = { authorization: `Bearer ${api.tokens.a}`, host: 'ergon.example.org', 'x-forwarded-for': '9.9.9.9' }
    expect((await call(PROGRAM, headers)).status).toBe(503)
    expect(await jobsOf(TENANT_A)).toMatchObject([{ status: 'cancelled' }])
  })

  test('cancels the job of a caller who goes away', async () => {
    const before = (await jobsOf(FACADE_TENANT)).length
    const gone = new AbortController()
    const answer = send(JSON.stringify(PROGRAM), {}, gone.signal).catch((error: unknown) => String(error))
    await expect.poll(async () => (await jobsOf(FACADE_TENANT)).length, { interval: 5 }).toBe(before + 1)
    gone.abort()
    expect(await answer).toContain('AbortError')
    await expect.poll(async () => (await jobsOf(FACADE_TENANT)).at(-1)?.status).toBe('cancelled')
  })

  describe('beside a worker that is busy', () => {
    const worker = randomUUID()
    beforeAll(() =>
      api.db.admin.query('select jobs.register_worker($1, $2, 1, $3, 1, $4, 3600)', [worker, 'busy', ['sandbox'], '0']),
    )
    afterAll(() => api.db.admin.query('select jobs.deregister_worker($1)', [worker]))
    const pending = async () => (await jobsOf(FACADE_TENANT)).filter(({ status }) => status === 'pending').length

    test('has eight places for callers without a token, and tells the next one at once', async () => {
      const leave = new AbortController()
      const others = Array.from({ length: 8 }, () =>
        send(JSON.stringify(PROGRAM), {}, leave.signal).catch((error: unknown) => String(error)),
      )
      await expect.poll(pending).toBe(8)
      const { status, answer } = await call(PROGRAM)
      expect(status).toBe(503)
      expect(answer.stderr).toContain('8 executions are under way')
      leave.abort()
      await Promise.all(others)
      await expect.poll(pending).toBe(0)
    })

    test('answers what ends while the API stops', async () => {
      const stopping = await startTestApi({ facade: RULES })
      const { db, app, context } = stopping
      try {
        await db.admin.query('select jobs.register_worker($1, $2, 1, $3, 1, $4, 3600)', [
          worker,
          'busy',
          ['sandbox'],
          '0',
        ])
        const url = await app.listen({ host: '127.0.0.1', port: 0 })
        const { origin } = new URL(url)
        const answer = fetch(`${origin}/execute/python`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify(PROGRAM),
        })
        const ids = async () => (await db.admin.query('select id from jobs.tb_job_run')).rows as { id: string }[]
        await expect.poll(async () => (await ids()).length).toBe(1)
        const [{ id } = { id: '' }] = await ids()
        context.watcher.stop()
        await db.admin.query('select jobs.mark_job_started($1)', [id])
        await db.admin.query('select jobs.complete_job_successfully($1, $2)', [id, { stdout: '1\n' }])
        expect(executeAnswerSchema.parse(await (await answer).json())).toMatchObject({ executionId: id, stdout: '1\n' })
      } finally {
        await stopping.close()
      }
    })

    test('cancels what was not claimed in time', async () => {
      const times = { doubtedMs: 10, unclaimedMs: 100, graceMs: 60_000 }
      const { watcher, pool } = api.context
      const health = () => Promise.resolve({ status: 'ok' as const, backend: 'ergon' })
      const executions = new Executions({ watcher, health, onError: () => {}, times })
      const payload = composeJob({ ...PROGRAM, timeoutSeconds: 1, hasToken: false }, RULES.ceilings)
      const submitter = { tokenId: FACADE_TENANT, tokenName: 'test', requestId: 'test' }
      const submission = { request: payload, path: [], tenantId: FACADE_TENANT, isBound: true, submitter }
      const row = composeJobRow(submission, api.context.findOperation)
      const db = new TenantDatabase(pool, { tenantId: FACADE_TENANT })
      const gone = new AbortController().signal
      await expect(
        executions.run({ row, source: JSON.stringify(payload), db, gone, timeoutSeconds: 1, hasToken: false }),
      ).rejects.toThrow(`job ${row.id} was cancelled: every worker was busy`)
      expect(await pending()).toBe(0)
    })
  })

  describe('to pages of other origins', () => {
    const ask = (path: string, origin: string, headers: Record<string, string> = {}) =>
      fetch(`http://127.0.0.1:${port}${path}`, { method: 'OPTIONS', headers: { origin, ...headers } })
    const preflight = { 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type' }

    test.each(['/execute/python', '/v1/jobs'])('says what a listed one may do at %s', async (path) => {
      const { status, headers } = await ask(path, LISTED, {
        ...preflight,
        'access-control-request-private-network': 'true',
      })
      expect(status).toBe(204)
      expect(headers.get('access-control-allow-origin')).toBe(LISTED)
      expect(headers.get('vary')).toContain('Origin')
      expect(headers.get('access-control-allow-methods')).toBe('GET, POST, PUT')
      const allowed = headers.get('access-control-allow-headers')?.split(', ')
      expect(allowed).toEqual(
        expect.arrayContaining(['authorization', 'content-type', 'idempotency-key', 'last-event-id']),
      )
      expect(headers.get('access-control-allow-credentials')).toBeNull()
      expect(headers.get('access-control-allow-private-network')).toBeNull()
    })

    test.each(['/execute/python', '/v1/jobs'])('tells another one nothing at %s', async (path) => {
      for (const origin of ['https://evil.test', `${LISTED}.evil.test`, 'null', 'http://app.example.org']) {
        const { headers } = await ask(path, origin, preflight)
        expect([...headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([])
        expect(headers.get('vary')).toContain('Origin')
      }
    })

    test('lets a listed one read answers and their headers, refusals too', async () => {
      const { status, headers } = await call({}, { origin: LISTED })
      expect(status).toBe(422)
      expect(headers['access-control-allow-origin']).toBe(LISTED)
      expect(String(headers['access-control-expose-headers'])).toContain('x-request-id')
      const other = await fetch(`http://127.0.0.1:${port}/health`, { headers: { origin: 'https://evil.test' } })
      expect(other.headers.get('access-control-allow-origin')).toBeNull()
    })
  })

  test('is described with the rest, as the one thing that needs no token', async () => {
    const { paths } = (await api.app.inject('/openapi.json')).json<{
      paths: Record<string, { post?: { security: object[]; requestBody: unknown; responses: object } }>
    }>()
    const post = paths['/execute/python']?.post
    expect(post?.security).toEqual([{ token: [] }, {}])
    expect(Object.keys(post?.responses ?? {})).toEqual(['200', '422', '500', '503'])
    expect(JSON.stringify(post?.requestBody)).toContain('ExecuteRequest')
    expect(paths['/health/executor']).toBeDefined()
  })

  test('is not there where it is off', async () => {
    const without = await startTestApi()
    try {
      const posted = await without.app.inject({ method: 'POST', url: '/execute/python', payload: PROGRAM })
      const asked = await without.app.inject('/health/executor')
      expect([posted.statusCode, asked.statusCode]).toEqual([404, 404])
      expect((await without.app.inject('/health')).body).toBe('{"status":"ok"}')
    } finally {
      await without.close()
    }
  })
})
