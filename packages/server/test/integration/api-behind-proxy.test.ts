import type { IncomingMessage, ServerResponse } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { connect as connectTls } from 'node:tls'
import { Writable } from 'node:stream'
import { MAX_DATASET_BYTES } from '@ergon/contract'
import pino from 'pino'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ApiApp } from '../../src/api/api-app.ts'
import { createHttpApp } from '../../src/api/http-app.ts'
import { EXECUTOR_POLICY } from '../../src/domain/sandbox-policy.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { as, payload, startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'
import { PROXIED_NAME, PROXIES, Proxy } from './proxy-fixture.ts'
import { insertJob } from './queue-fixture.ts'

/** Requests of an address without a good token, in a minute. */
const ADDRESS_LIMIT = 600

let api: TestApi
const logged: { requestId?: string; ip?: string }[] = []
beforeAll(async () => {
  const lines = new Writable({
    write(line: Buffer, _encoding, done) {
      logged.push(JSON.parse(line.toString()) as object)
      done()
    },
  })
  api = await startTestApi({
    logger: pino({ level: 'info' }, lines),
    facade: { hosts: [PROXIED_NAME], ceilings: EXECUTOR_POLICY.limits, seesEnvironments: false },
  })
})
afterAll(() => api.close())

describe.each(Object.entries(PROXIES))('behind %s, set up as docs/api.md shows, the API', (name, kind) => {
  /** What is told of the proxy, and what is not. */
  let trusting: { app: ApiApp; proxy: Proxy }
  let wary: { app: ApiApp; proxy: Proxy }
  const stops: (() => Promise<unknown>)[] = []
  const start = async (trustedProxies: readonly string[]) => {
    const app = await createHttpApp({ ...api.context, trustedProxies })
    stops.unshift(() => app.close())
    await app.listen({ host: '127.0.0.1', port: 0 })
    const proxy = await Proxy.start(kind, (app.server.address() as AddressInfo).port)
    stops.unshift(() => proxy.stop())
    return { app, proxy }
  }
  beforeAll(async () => {
    trusting = await start(['127.0.0.1'])
    wary = await start([])
  })
  afterAll(async () => {
    for (const stop of stops) await stop()
  })

  it('answers over TLS', async () => {
    const answer = await trusting.proxy.fetch('GET', '/v1/jobs', as(api.tokens.b))
    expect(answer).toMatchObject({ status: 200, headers: { 'strict-transport-security': expect.any(String) } })
    expect(JSON.parse(answer.body)).toMatchObject({ items: [] })
  })

  it('answers over HTTP/2', async () => {
    const { port, certificate: ca } = trusting.proxy
    const session = connectHttp2(`https://${PROXIED_NAME}`, {
      createConnection: () =>
        connectTls({ host: '127.0.0.1', port, servername: PROXIED_NAME, ca, ALPNProtocols: ['h2'] }),
    })
    const [headers] = await once(session.request({ ':path': '/ready' }), 'response')
    expect(headers).toMatchObject({ ':status': 200 })
    session.destroy()
  })

  it('sends events while they happen, and hears of readers that go', async () => {
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_A })
    const asked = once(trusting.app.server, 'request') as Promise<[IncomingMessage, ServerResponse]>
    const reader = new EventReader(await trusting.proxy.open('GET', `/v1/jobs/${id}/events`, as(api.tokens.a)))
    await reader.until((r) => r.ofType('status').length > 0)
    await api.db.admin.query(
      `insert into jobs.tb_job_output (job_id, attempt, stream, "offset", bytes) values ($1, 1, 'stdout', 0, 'now')`,
      [id],
    )
    await reader.until((r) => r.ofType('stdout').length > 0)
    expect(reader.ofType('stdout')[0]).toMatchObject({ data: { text: 'now' } })
    expect(reader.isOver).toBe(false)
    const [, stream] = await asked
    const ended = once(stream, 'close')
    reader.close()
    await ended
  })

  it('takes bodies that are as large as may be, as they come', async () => {
    const bytes = Buffer.alloc(20 * 1024 * 1024, name)
    const url = `/v1/datasets?name=${name}.txt`
    const { status, body } = await trusting.proxy.fetch('PUT', url, { ...as(api.tokens.a), body: bytes })
    expect({ status, body: JSON.parse(body) }).toMatchObject({ status: 201, body: { size_bytes: bytes.length } })
    // None of it is sent, so whoever answers has not waited for it.
    const headers = { 'content-length': MAX_DATASET_BYTES, authorization: 'Bearer nobody' }
    const refused = await trusting.proxy.fetch('PUT', url, { headers, body: 'announced' })
    expect([refused.status, JSON.parse(refused.body)]).toMatchObject([401, { code: 'TOKEN_INVALID' }])
  })

  it('refuses larger ones itself, while they come', async () => {
    const large = JSON.stringify({ ...payload(), project_id: 'x'.repeat(3_000_000) })
    const asJson = as(api.tokens.a, { 'content-type': 'application/json' })
    const asFile = as(api.tokens.a, { 'content-length': String(MAX_DATASET_BYTES + 1) })
    for (const answer of [
      await trusting.proxy.fetch('POST', '/v1/jobs', { ...asJson, body: large }),
      await trusting.proxy.fetch('PUT', '/v1/datasets?name=x.txt', { ...asFile, body: 'announced' }),
    ])
      expect([answer.status, JSON.parse(answer.body)]).toMatchObject([413, { code: 'BODY_TOO_LARGE' }])
  })

  it.each(['trusted', 'not trusted'])('runs nothing for callers without a token: %s', async (which) => {
    const { proxy } = which === 'trusted' ? trusting : wary
    const answer = await proxy.fetch('POST', '/execute/python', {
      headers: { 'content-type': 'application/json' },
      body: '{"code": "print(1)"}',
    })
    expect(answer.status).toBe(403)
  })

  it('counts and logs the address that the proxy saw, where it trusts the proxy', async () => {
    const guess = ({ proxy }: typeof wary, from: string) =>
      proxy.fetch('GET', '/v1/jobs', {
        headers: { authorization: 'Bearer wrong', 'x-forwarded-for': '203.0.113.9' },
        from,
      })
    const ipOf = async (answer: { headers: Record<string, unknown> }) => {
      const line = () => logged.find(({ requestId }) => requestId === answer.headers['x-request-id'])
      await expect.poll(line).toBeDefined()
      return line()?.ip
    }
    expect(await ipOf(await guess(trusting, '127.0.0.2'))).toBe('127.0.0.2')
    expect(await ipOf(await guess(wary, '127.0.0.2'))).toBe('127.0.0.1')
    const useUp = async ({ app }: typeof wary, headers: Record<string, string>) => {
      for (let n = 0; n < ADDRESS_LIMIT; n++) await app.inject({ url: '/v1/jobs', headers, remoteAddress: '127.0.0.1' })
    }
    await useUp(trusting, { 'x-forwarded-for': '127.0.0.2' })
    await useUp(wary, {})
    expect((await guess(trusting, '127.0.0.2')).status).toBe(429)
    expect((await guess(trusting, '127.0.0.3')).status).toBe(401)
    expect((await guess(wary, '127.0.0.3')).status).toBe(429)
  })
})
