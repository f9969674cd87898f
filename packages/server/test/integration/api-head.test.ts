import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { type AddressInfo, connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { OpenApiDocument } from '../../src/api/openapi-document.ts'
import { leaveArtifact } from './api-artifacts-fixture.ts'
import { as, startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'
import { insertJob } from './queue-fixture.ts'

let api: TestApi
let opened = 0
beforeAll(async () => {
  api = await startTestApi({
    openArtifact(digest, range) {
      opened++
      return api.store.read(digest, range)
    },
  })
})
afterAll(() => api.close())

const ask = (method: 'GET' | 'HEAD', url: string, token: string | null, headers: Record<string, string> = {}) =>
  api.app.inject({ method, url, ...(token === null ? { headers } : as(token, headers)) })
/** What of an answer's headers is of the thing, not of the moment. */
const lasting = ({ headers: { 'x-request-id': _id, date: _date, ...headers } }: { headers: Record<string, unknown> }) =>
  headers

/** Every path that takes GET, with ids that there are. */
async function pathsOfGet() {
  const jobId = await insertJob(api.db.admin, { tenant_id: TENANT_A })
  const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'bytes', jobId })
  const ids: Record<string, string> = { job_id: jobId, artifact_id: id, service: 'echo' }
  const { paths } = (await api.app.inject('/openapi.json')).json<OpenApiDocument>()
  return Object.entries(paths)
    .filter(([, methods]) => 'get' in methods)
    .map(([path, methods]) => ({
      url: path.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? name),
      isStream: JSON.stringify(methods['get']?.responses['200']).includes('"text/event-stream"'),
      isOpen: path === '/health' || path === '/ready',
      isOfTenant: /job_id|artifact_id/.test(path),
    }))
}

it('HEAD is answered as GET is, without the body, after the same checks', async () => {
  const paths = await pathsOfGet()
  const powerless = await api.token(['cancel'], null)
  expect(paths.filter(({ isStream }) => isStream)).toHaveLength(2)
  expect(paths.length).toBeGreaterThan(12)
  for (const { url, isStream, isOpen, isOfTenant } of paths) {
    const statusOf = async (token: string | null) => (await ask('HEAD', url, token)).statusCode
    if (isStream) {
      expect([url, await statusOf(api.tokens.all)]).toEqual([url, 404])
      continue
    }
    const [got, head] = [await ask('GET', url, api.tokens.all), await ask('HEAD', url, api.tokens.all)]
    expect([url, got.statusCode, head.statusCode, head.body]).toEqual([url, 200, 200, ''])
    // Ages grow between the two.
    const length = url === '/v1/queue' ? { 'content-length': expect.stringMatching(/^[1-9]/) } : {}
    expect([url, lasting(head)]).toEqual([url, { ...lasting(got), ...length }])
    expect([url, await statusOf(null), await statusOf(powerless)]).toEqual([url, ...(isOpen ? [200, 200] : [401, 403])])
    if (isOfTenant) expect([url, await statusOf(api.tokens.b)]).toEqual([url, 404])
  }
})

it('HEAD of what is not there has no body either, and the connection goes on', async () => {
  await api.app.listen({ host: '127.0.0.1', port: 0 })
  const socket = connect((api.app.server.address() as AddressInfo).port, '127.0.0.1')
  const head = (path: string, last = '') =>
    `HEAD ${path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.a}\r\n${last}\r\n`
  socket.write(head('/nowhere') + head(`/v1/jobs/${randomUUID()}`) + head('/v1/jobs', 'Connection: close\r\n'))
  let text = ''
  socket.on('data', (chunk: Buffer) => (text += chunk.toString()))
  await once(socket, 'close')
  expect(text.match(/HTTP\/1\.1 \d+/g)).toEqual(['HTTP/1.1 404', 'HTTP/1.1 404', 'HTTP/1.1 200'])
  expect(text).not.toContain('{')
})

describe('HEAD of the bytes of an artifact', () => {
  it('says how many they are and which, and reads none', async () => {
    const { id, digest } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: '0123456789' })
    const url = `/v1/artifacts/${id}/content`
    const before = opened
    const { statusCode, headers } = await ask('HEAD', url, api.tokens.a, { range: 'bytes=2-4' })
    expect([statusCode, headers]).toMatchObject([
      200,
      { 'content-length': '10', 'content-type': 'image/png', etag: `"${digest}"`, 'accept-ranges': 'bytes' },
    ])
    expect(headers).not.toHaveProperty('content-range')
    expect(await ask('HEAD', url, api.tokens.a, { 'if-none-match': `"${digest}"` })).toMatchObject({ statusCode: 304 })
    expect(opened).toBe(before)
    await rm(api.store.pathOf(digest))
    expect(await ask('HEAD', url, api.tokens.a)).toMatchObject({ statusCode: 410, body: '' })
  })

  it('is allowed by a signed address, an altered one excepted', async () => {
    const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'signed' })
    const answer = await api.app.inject({
      method: 'POST',
      url: `/v1/artifacts/${id}/signed-url`,
      ...as(api.tokens.a),
      payload: {},
    })
    const { url } = answer.json<{ url: string }>()
    expect(await ask('HEAD', url, null)).toMatchObject({ statusCode: 200, headers: { 'content-length': '6' } })
    expect(await ask('HEAD', `${url}x`, null)).toMatchObject({ statusCode: 403, body: '' })
  })
})
