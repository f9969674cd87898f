import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { once } from 'node:events'
import { type AddressInfo, connect } from 'node:net'
import { MAX_DATASET_BYTES, type Dataset } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { as, startTestApi, TENANT_A, TENANT_B, type TestApi } from './api-fixture.ts'

let api: TestApi
let port: number
beforeAll(async () => {
  api = await startTestApi()
  await api.app.listen({ host: '127.0.0.1', port: 0 })
  port = (api.app.server.address() as AddressInfo).port
})
afterAll(() => api.close())

const digestOf = (bytes: string | Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`
const put = (query: string, payload: string | Buffer, token = api.tokens.a, headers: Record<string, string> = {}) =>
  api.app.inject({ method: 'PUT', url: `/v1/datasets?${query}`, ...as(token, headers), payload })

/** What a raw request is answered with; it sends a length and no more than these bytes. */
async function sendHead(headers: string, body = ''): Promise<{ answer: string; hangUp(): void }> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  socket.write(
    `PUT /v1/datasets?name=a.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.a}\r\n${headers}\r\n\r\n${body}`,
  )
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  return { answer: String(bytes), hangUp: () => socket.destroy() }
}

describe('a dataset', () => {
  it('is what was sent, under the digest of its bytes, once for each tenant', async () => {
    const bytes = Buffer.from('year,co2\n2020,414\n')
    const first = await put('name=co2.csv', bytes, api.tokens.a, { 'content-type': 'text/csv' })
    expect(first.statusCode).toBe(201)
    const dataset = first.json<Dataset>()
    expect(dataset).toEqual({
      artifact_id: expect.any(String),
      digest: digestOf(bytes),
      size_bytes: bytes.length,
      name: 'co2.csv',
      format: 'csv',
    })
    const again = await put('name=other.txt', bytes)
    expect([again.statusCode, again.json()]).toEqual([200, dataset])
    const foreign = await put('name=mine.bin', bytes, api.tokens.b)
    expect([foreign.statusCode, foreign.json()]).toMatchObject([201, { name: 'mine.bin', format: 'binary' }])
    expect(foreign.json<Dataset>().artifact_id).not.toBe(dataset.artifact_id)
    const { rows } = await api.db.admin.query(
      'select tenant_id, job_id, kind, content_type from jobs.tb_artifact where digest = $1 order by tenant_id',
      [dataset.digest],
    )
    expect(rows).toEqual([
      { tenant_id: TENANT_A, job_id: null, kind: 'dataset', content_type: 'text/csv' },
      { tenant_id: TENANT_B, job_id: null, kind: 'dataset', content_type: 'application/octet-stream' },
    ])
    const content = await api.app.inject({
      method: 'GET',
      url: `/v1/artifacts/${dataset.artifact_id}/content`,
      ...as(api.tokens.a),
    })
    expect(content.rawPayload.equals(bytes)).toBe(true)
    expect(await readdir(api.context.spool).catch(() => [])).toEqual([])
  })

  it.each([
    ['json', '{"a": 1}'],
    ['empty', ''],
    ['of three million bytes', Buffer.alloc(3_000_000, 'large')],
  ])('that is %s is taken as bytes', async (_, bytes) => {
    const answer = await put('name=data.json', bytes, api.tokens.a, { 'content-type': 'application/json' })
    expect([answer.statusCode, answer.json<Dataset>().digest]).toEqual([201, digestOf(bytes)])
  })

  it.each([
    'name=..',
    'name=',
    'name=a%2Fb.csv',
    'name=..%5C..%5Cb.csv',
    'name=a%00b',
    'name=a%0d%0ab',
    'name=%E2%80%AEvsc.exe',
    `name=${'x'.repeat(256)}`,
    '',
    'name=a.csv&format=png',
    'name=a.csv&name=b.csv',
  ])('by ?%s is refused', async (query) => {
    const answer = await put(query, 'x')
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([422, 'REQUEST_INVALID'])
  })

  it('belongs to the tenant of its token', async () => {
    const foreign = await put(`name=a.csv&tenant_id=${TENANT_B}`, 'tenant')
    expect([foreign.statusCode, foreign.json<{ code: string }>().code]).toEqual([403, 'TENANT_MISMATCH'])
    expect((await put(`name=a.csv&tenant_id=${TENANT_B}`, 'tenant', api.tokens.all)).statusCode).toBe(201)
    expect((await put('name=a.csv', 'tenant', api.tokens.all)).statusCode).toBe(201)
    const reader = await api.token(['read', 'artifacts'], TENANT_A)
    expect((await put('name=a.csv', 'tenant', reader)).statusCode).toBe(403)
    const { rows } = await api.db.admin.query('select tenant_id from jobs.tb_artifact where digest = $1', [
      digestOf('tenant'),
    ])
    expect(rows).toEqual(expect.arrayContaining([{ tenant_id: TENANT_B }, { tenant_id: null }]))
    expect(rows).toHaveLength(2)
  })

  it('is refused when its bytes are not those that were announced', async () => {
    const announced = (bytes: string) => `sha-256=:${createHash('sha256').update(bytes).digest('base64')}:`
    const other = await put('name=a.csv', 'these', api.tokens.a, { 'content-digest': announced('those') })
    expect([other.statusCode, other.json<{ code: string }>().code]).toEqual([422, 'DIGEST_MISMATCH'])
    const good = { 'content-digest': `sha-512=:AAAA:, ${announced('these')}` }
    expect((await put('name=a.csv', 'these', api.tokens.a, good)).statusCode).toBe(201)
  })

  it('that says to be too large is refused before it comes', async () => {
    const { answer, hangUp } = await sendHead(`Content-Length: ${MAX_DATASET_BYTES + 1}`, 'the beginning')
    expect(answer).toMatch(/^HTTP\/1\.1 413 /)
    hangUp()
  })

  it('that comes compressed is refused, since jobs would read it so', async () => {
    const answer = await put('name=a.csv', 'x', api.tokens.a, { 'content-encoding': 'gzip' })
    expect([answer.statusCode, answer.json<{ code: string }>().code]).toEqual([415, 'MEDIA_TYPE_UNSUPPORTED'])
  })

  it('that breaks off leaves nothing', async () => {
    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(
      `PUT /v1/datasets?name=broken.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.a}\r\nContent-Length: 1000\r\n\r\nhalf`,
    )
    await expect.poll(async () => (await readdir(api.context.spool).catch(() => [])).length).toBe(1)
    socket.destroy()
    await expect.poll(async () => readdir(api.context.spool)).toEqual([])
    const { rows } = await api.db.admin.query(`select from jobs.tb_artifact where name = 'broken.csv'`)
    expect(rows).toEqual([])
  })

  it('is refused before it fills the disk that the database is on', async () => {
    const full = await startTestApi({ freeBytes: () => Promise.resolve(300 * 1024 * 1024) })
    const upload = (payload: Buffer) =>
      full.app.inject({ method: 'PUT', url: '/v1/datasets?name=a.bin', ...as(full.tokens.a), payload })
    expect((await upload(Buffer.alloc(1_000))).statusCode).toBe(201)
    const refused = await upload(Buffer.alloc(30 * 1024 * 1024))
    expect([refused.statusCode, refused.json()]).toMatchObject([503, { code: 'STORAGE_FULL' }])
    await full.close()
  })

  it('waits while too many come at a time', async () => {
    const sockets = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = connect(port, '127.0.0.1')
        await once(socket, 'connect')
        socket.write(
          `PUT /v1/datasets?name=slow.csv HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${api.tokens.a}\r\nContent-Length: 9\r\n\r\n`,
        )
        return socket
      }),
    )
    await expect.poll(async () => (await readdir(api.context.spool)).length).toBe(4)
    expect((await put('name=ninth.csv', 'x')).statusCode).toBe(429)
    // Of one token: others go on.
    expect((await put('name=ninth.csv', 'x', api.tokens.b)).statusCode).toBe(201)
    for (const socket of sockets) socket.destroy()
    await expect.poll(async () => (await put('name=ninth.csv', 'x')).statusCode).toBe(201)
  })
})
