import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createPool } from '../../src/platform/db/database.ts'
import { as, payload, startTestApi, type TestApi } from './api-fixture.ts'

let api: TestApi
let port: number
beforeAll(async () => {
  api = await startTestApi()
  await api.app.listen({ host: '127.0.0.1', port: 0 })
  port = (api.app.server.address() as AddressInfo).port
})
afterAll(() => api.close())

/** Sends these bytes and gives all that comes back until the other side closes. */
async function exchange(bytes: string | Buffer): Promise<string> {
  const socket = await open()
  socket.write(bytes)
  return await untilClosed(socket)
}

async function open(): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

async function untilClosed(socket: Socket): Promise<string> {
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
  // Writing to a side that has closed is an error that means nothing here.
  socket.on('error', () => {})
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return text
}

const request = (body: Buffer | string, more = '', path = '/v1/jobs') => {
  const bytes = Buffer.from(body)
  const head = `POST ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${api.tokens.a}\r\nContent-Type: application/json\r\n${more}Content-Length: ${bytes.length}\r\n\r\n`
  return Buffer.concat([Buffer.from(head), bytes])
}
const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
const problemOf = (answer: string) => JSON.parse(answer.slice(answer.indexOf('{'))) as Record<string, unknown>

const withNumbers = (number: string, count: number) =>
  JSON.stringify(payload()).replace(
    '"python"}}}',
    `"python","parameters":{"n":[${Array.from({ length: count }, () => number).join(',')}]}}}}`,
  )
const lone = JSON.stringify(payload()).replace('print(1)', String.raw`\ud800`)
const nul = JSON.stringify(payload()).replace('print(1)', String.raw`\u0000`)

describe('a body', () => {
  it.each([
    ['of 10 MB', Buffer.alloc(10 * 1024 * 1024, 0x20), 413, 'BODY_TOO_LARGE'],
    ['nested a million levels deep', '['.repeat(1_000_000), 400, 'BODY_INVALID'],
    [
      'nested as deep in a field',
      `{"service":"echo","operation":"say","input":${'{"a":'.repeat(90)}1${'}'.repeat(90)}}`,
      400,
      'BODY_INVALID',
    ],
    ['with __proto__', '{"service":"echo","operation":"say","input":{"__proto__":{"a":1}}}', 400, 'BODY_INVALID'],
    ['with constructor.prototype', '{"constructor":{"prototype":{"a":1}}}', 400, 'BODY_INVALID'],
    ['that is no UTF-8', Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d]), 400, 'BODY_INVALID'],
    ['in UTF-16', Buffer.from('{"a":1}', 'utf16le'), 400, 'BODY_INVALID'],
    ['that is no JSON', '{"a":1', 400, 'BODY_INVALID'],
    ['of nothing', '', 400, 'BODY_INVALID'],
    ['that is null', 'null', 422, 'REQUEST_INVALID'],
    ['that is a text', '"x"', 422, 'REQUEST_INVALID'],
    ['with half a surrogate pair', lone, 400, 'BODY_INVALID'],
    ['with U+0000', nul, 400, 'BODY_INVALID'],
    [
      'with a number beyond everything',
      JSON.stringify(payload()).replace('"python"}}}', '"python","parameters":{"n":1e9999999999}}}}'),
      400,
      'BODY_INVALID',
    ],
    ['with numbers that are a gigabyte when written out', withNumbers('1e131000', 8_000), 400, 'BODY_INVALID'],
    ['with numbers that are as small', withNumbers('1E-16000', 100), 400, 'BODY_INVALID'],
    ['with a byte order mark', `\ufeff${JSON.stringify(payload())}`, 400, 'BODY_INVALID'],
    [
      'with 100 000 unknown fields',
      JSON.stringify(Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`f${n}`, n]))),
      422,
      'REQUEST_INVALID',
    ],
    [
      'with half a million wrong elements',
      JSON.stringify({ ...payload(), output_spec: { formats: Array.from({ length: 500_000 }, () => 1) } }),
      422,
      'REQUEST_INVALID',
    ],
    [
      'with more input than a job may have',
      JSON.stringify(payload({ project_id: 'x'.repeat(1_100_000) })),
      422,
      'INPUT_TOO_LARGE',
    ],
  ])('%s is refused', async (_, body, status, code) => {
    const began = performance.now()
    const answer = await exchange(request(body))
    expect({ status: statusOf(answer), code: problemOf(answer)['code'] }).toEqual({ status, code })
    expect(answer.length).toBeLessThan(20_000)
    // No bound on speed, but on being stuck.
    expect(performance.now() - began).toBeLessThan(10_000)
  })

  it('of another type is refused', async () => {
    const bytes = request('a=1').toString('latin1').replace('application/json', 'application/x-www-form-urlencoded')
    expect(statusOf(await exchange(bytes))).toBe(415)
  })

  it('of 10 MB that comes in pieces without a length is cut off', async () => {
    const socket = await open()
    socket.write(
      `POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.a}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n`,
    )
    const closed = untilClosed(socket)
    const piece = Buffer.from(`10000\r\n${' '.repeat(65_536)}\r\n`)
    for (let sent = 0; sent < 160 && !socket.destroyed; sent++) {
      if (!socket.write(piece)) await Promise.race([new Promise((resolve) => socket.once('drain', resolve)), closed])
    }
    socket.end()
    expect(statusOf(await closed)).toBe(413)
  })
})

describe('a request', () => {
  it.each([
    ['GET /v1/jobs/../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['GET /v1/jobs/%2e%2e%2f%2e%2e%2fetc HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 401],
    ['GET /v1/jobs/%zz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 422],
    ['GET /docs/static/..%2f..%2f..%2fpackage.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['DELETE /v1/jobs HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n', 404],
    ['GET /health HTTP/1.1\r\n\r\n', 400],
    [`GET /health HTTP/1.1\r\nHost: x\r\nX: ${'y'.repeat(20_000)}\r\n\r\n`, 431],
    ['POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['NONSENSE\r\n\r\n', 400],
  ])('%j is answered with %i', async (text, status) => {
    const answer = await exchange(text)
    expect(statusOf(answer)).toBe(status)
    expect(answer).not.toMatch(/root:|node_modules|at .*\.ts:/)
  })

  it('that dribbles in is cut off, and others are served meanwhile', async () => {
    const { headersTimeout, requestTimeout } = api.app.server
    Object.assign(api.app.server, { headersTimeout: 500, requestTimeout: 1_000 })
    try {
      const [head, body] = [await open(), await open()]
      const closed = [untilClosed(head), untilClosed(body)]
      head.write('GET /health HTTP/1.1\r\nHo')
      body.write(request('{"a": 1}').subarray(0, -4))
      expect((await api.app.inject({ method: 'GET', url: '/health' })).json()).toEqual({ status: 'ok' })
      expect((await Promise.all(closed)).map(statusOf)).toEqual([408, 408])
    } finally {
      Object.assign(api.app.server, { headersTimeout, requestTimeout })
    }
  })

  it('cannot choose its id, and is told ours', async () => {
    const answer = await api.app.inject({
      method: 'GET',
      url: '/v1/jobs',
      headers: { 'request-id': 'mine', 'x-request-id': 'mine' },
    })
    const { request_id: id } = answer.json<{ request_id: string }>()
    expect(id).toMatch(/^[0-9a-f-]{36}$/)
    expect(answer.headers['x-request-id']).toBe(id)
  })

  it('is answered with headers that let a browser do nothing with it', async () => {
    const { headers } = await api.app.inject({ method: 'GET', url: '/v1/jobs', ...as(api.tokens.a) })
    expect(headers).toMatchObject({
      'content-security-policy': "default-src 'none';frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'x-frame-options': 'DENY',
      'referrer-policy': 'no-referrer',
      'cache-control': 'no-store',
    })
    expect(headers).not.toHaveProperty('x-powered-by')
    expect(headers).not.toHaveProperty('server')
  })

  it('of a page elsewhere is allowed for listed origins alone', async () => {
    const preflight = (origin: string) =>
      api.app.inject({
        method: 'OPTIONS',
        url: '/v1/jobs',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
      })
    const listed = await preflight('https://app.example.org')
    expect(listed.headers['access-control-allow-origin']).toBe('https://app.example.org')
    expect(listed.headers['access-control-allow-credentials']).toBeUndefined()
    expect((await preflight('https://evil.example.org')).headers['access-control-allow-origin']).toBeUndefined()
  })
})

describe('a parameter', () => {
  const cursor = Buffer.from('["0000-01-01T00:00:00.000000Z","00000000-0000-4000-8000-000000000000"]').toString(
    'base64url',
  )

  it.each([
    'service=%00',
    'created_after=0000-01-01T00:00:00Z',
    'created_before=2020-01-01T00:00:00%2B23:59',
    `cursor=${cursor}`,
  ])('%s is no fault of ours', async (query) => {
    const answer = await api.app.inject({ method: 'GET', url: `/v1/jobs?${query}`, ...as(api.tokens.a) })
    expect(answer.statusCode).toBeLessThan(500)
  })
})

describe('a session that PostgreSQL ends', () => {
  it('while it is in use fails its call and nothing else', async () => {
    const admin = await api.db.admin.connect()
    try {
      await admin.query('begin; lock table jobs.tb_job_run in access exclusive mode')
      const answers = Array.from({ length: 5 }, () =>
        api.app.inject({ method: 'GET', url: `/v1/jobs/${randomUUID()}`, ...as(api.tokens.a) }),
      )
      const waiting = `select pid from pg_stat_activity
        where application_name = 'ergon-api' and datname = current_database() and wait_event_type = 'Lock'`
      // Not in that transaction, which would see the same activity again and again.
      await expect.poll(async () => (await api.db.admin.query(waiting)).rowCount, { timeout: 10_000 }).toBe(5)
      await api.db.admin.query(`select pg_terminate_backend(pid) from (${waiting}) w`)
      expect((await Promise.all(answers)).map(({ statusCode }) => statusCode)).toEqual([503, 503, 503, 503, 503])
    } finally {
      await admin.query('rollback')
      admin.release()
    }
    expect((await api.app.inject({ method: 'GET', url: '/v1/jobs', ...as(api.tokens.a) })).statusCode).toBe(200)
  })

  it('is not ended for a refusal', async () => {
    const pids = async () =>
      (
        await api.db.admin.query(
          `select pid from pg_stat_activity where application_name = 'ergon-api' and datname = current_database() order by 1`,
        )
      ).rows
    const send = (body: object, key: string) =>
      api.app.inject({
        method: 'POST',
        url: '/v1/jobs',
        ...as(api.tokens.a, { 'idempotency-key': key }),
        payload: body,
      })
    await send(payload(), 'the-same')
    const before = await pids()
    for (let time = 0; time < 5; time++) {
      expect((await send(payload(), 'the-same')).json()).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' })
      const tooLarge = payload({ project_id: 'x'.repeat(1_100_000) })
      expect((await send(tooLarge, `another-${time}`)).json()).toMatchObject({ code: 'INPUT_TOO_LARGE' })
    }
    expect(await pids()).toEqual(before)
  })
})

describe('a database that is away', () => {
  it('is told without a word of where it is', async () => {
    const gone = createPool('postgresql://ergon_api:hunter2@127.0.0.1:1/nowhere', {
      maxConnections: 1,
      applicationName: 'x',
    })
    const other = await startTestApi({ pool: gone })
    const answer = await other.app.inject({ method: 'GET', url: `/v1/jobs/${randomUUID()}`, ...as(other.tokens.a) })
    expect(answer.statusCode).toBe(503)
    expect(answer.json()).toMatchObject({ code: 'DATABASE_UNREACHABLE' })
    expect(answer.body).not.toMatch(/127\.0\.0\.1|nowhere|hunter2|ECONN/)
    expect((await other.app.inject({ method: 'GET', url: '/health' })).statusCode).toBe(200)
    expect((await other.app.inject({ method: 'GET', url: '/ready' })).statusCode).toBe(503)
    await gone.end()
    await other.close()
  })
})
