import { randomUUID } from 'node:crypto'
import { chmod, rm, writeFile } from 'node:fs/promises'
import http from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { leaveArtifact } from './api-artifacts-fixture.ts'
import { as, startTestApi, TENANT_A, TENANT_B, type TestApi } from './api-fixture.ts'

let api: TestApi
let port: number
beforeAll(async () => {
  api = await startTestApi()
  await api.app.listen({ host: '127.0.0.1', port: 0 })
  port = (api.app.server.address() as AddressInfo).port
})
afterAll(() => api.close())

const contentOf = (id: string) => `/v1/artifacts/${id}/content`
const get = (url: string, token: string | null, headers: Record<string, string> = {}) =>
  api.app.inject({ method: 'GET', url, ...(token === null ? { headers } : as(token, headers)) })
const codeOf = (answer: { body: string }) => (JSON.parse(answer.body) as { code: string }).code

async function sign(id: string, token: string, payload: object = {}) {
  const answer = await api.app.inject({ method: 'POST', url: `/v1/artifacts/${id}/signed-url`, ...as(token), payload })
  expect({ status: answer.statusCode, body: answer.body }).toMatchObject({ status: 201 })
  return answer.json<{ url: string; expires_at: string }>()
}

/** Over a real connection; `whole` is whether the answer looked complete to the client. */
function fetchRaw(url: string, token: string): Promise<{ status: number; bytes: Buffer; whole: boolean }> {
  return new Promise((resolve, reject) => {
    const request = http.get(
      { port, path: url, agent: false, headers: { authorization: `Bearer ${token}` } },
      (answer) => {
        const chunks: Buffer[] = []
        const end = () =>
          resolve({ status: answer.statusCode ?? 0, bytes: Buffer.concat(chunks), whole: answer.complete })
        answer
          .on('data', (chunk: Buffer) => chunks.push(chunk))
          .on('error', () => {})
          .on('close', end)
      },
    )
    request.on('error', reject)
  })
}

describe('the bytes of an artifact', () => {
  it('come as a download that a browser runs nothing of', async () => {
    const svg = '<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    const { id, digest } = await leaveArtifact(api, {
      tenantId: TENANT_A,
      bytes: svg,
      name: 'größe.svg',
      contentType: 'image/svg+xml',
    })
    const answer = await get(contentOf(id), api.tokens.a)
    expect(answer.body).toBe(svg)
    expect(answer.headers).toMatchObject({
      'content-type': 'image/svg+xml',
      'content-length': String(Buffer.byteLength(svg)),
      'content-disposition': `attachment; filename="gr__e.svg"; filename*=UTF-8''gr%C3%B6%C3%9Fe.svg`,
      'content-security-policy': "sandbox; default-src 'none'; frame-ancestors 'none'",
      'x-content-type-options': 'nosniff',
      'cache-control': 'private, no-cache',
      'accept-ranges': 'bytes',
      etag: `"${digest}"`,
    })
  })

  it.each([
    ['../../../etc/passwd', 'attachment; filename="passwd"'],
    ['a"\r\nX-Evil: 1\r\n\r\n<html>', 'attachment; filename="a___X-Evil_ 1_____html_"'],
    ['\u202Egnp.exe', 'attachment; filename="_gnp.exe"'],
    ['x'.repeat(1_000), `attachment; filename="${'x'.repeat(120)}"`],
  ])('called %j have a harmless name', async (name, header) => {
    const contentType = 'text/html\r\nX-Evil: 1'
    const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'x', name, contentType })
    const { headers } = await get(contentOf(id), api.tokens.a)
    expect(headers['content-disposition']).toBe(header)
    expect(headers['content-type']).toBe('application/octet-stream')
    expect(headers).not.toHaveProperty('x-evil')
  })

  it('come in ranges, and not again to whoever has them', async () => {
    const { id, digest } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: '0123456789' })
    const range = async (headers: Record<string, string>) => {
      const { statusCode, body, headers: sent } = await get(contentOf(id), api.tokens.a, headers)
      return [statusCode, statusCode < 400 ? body : codeOf({ body }), sent['content-range'], sent['content-length']]
    }
    expect(await range({ range: 'bytes=2-4' })).toEqual([206, '234', 'bytes 2-4/10', '3'])
    expect(await range({ range: 'bytes=-1' })).toEqual([206, '9', 'bytes 9-9/10', '1'])
    expect(await range({ range: 'bytes=0-0,2-3' })).toEqual([200, '0123456789', undefined, '10'])
    expect(await range({ range: 'bytes=2-4', 'if-range': '"another"' })).toEqual([200, '0123456789', undefined, '10'])
    expect(await range({ range: 'bytes=2-4', 'if-range': `"${digest}"` })).toEqual([206, '234', 'bytes 2-4/10', '3'])
    expect(await range({ range: 'bytes=10-' })).toMatchObject([
      416,
      'RANGE_NOT_SATISFIABLE',
      'bytes */10',
      expect.any(String),
    ])
    const known = await get(contentOf(id), api.tokens.a, { 'if-none-match': `"x", W/"${digest}"` })
    expect([known.statusCode, known.body, known.headers.etag]).toEqual([304, '', `"${digest}"`])
  })

  it('of none are none', async () => {
    const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: '' })
    expect(await get(contentOf(id), api.tokens.a)).toMatchObject({ statusCode: 200, body: '' })
  })

  it('that are not kept any more are gone, and nobody learns where they were', async () => {
    const { id, digest } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'pruned' })
    await rm(api.store.pathOf(digest))
    const answer = await get(contentOf(id), api.tokens.a)
    expect([answer.statusCode, codeOf(answer)]).toEqual([410, 'ARTIFACT_GONE'])
    expect(answer.body).not.toContain(api.folder)
  })

  it.each([
    ['small', 4],
    ['large', 3_000_000],
  ])('that were changed are never a complete answer: %s', async (what, size) => {
    const bytes = Buffer.alloc(size, what)
    const { id, digest } = await leaveArtifact(api, { tenantId: TENANT_A, bytes })
    expect(await fetchRaw(contentOf(id), api.tokens.a)).toMatchObject({ status: 200, whole: true, bytes })
    await chmod(api.store.pathOf(digest), 0o644)
    await writeFile(api.store.pathOf(digest), Buffer.alloc(size, 'altered'))
    const answer = await fetchRaw(contentOf(id), api.tokens.a).catch(() => null)
    // Cut, or refused before anything was sent.
    if (answer?.status === 200) expect(answer).toMatchObject({ whole: false })
    else if (answer !== null) expect(answer).toMatchObject({ status: 500 })
    expect(answer?.bytes.length ?? 0).toBeLessThan(size + 1_000)
    await writeFile(api.store.pathOf(digest), Buffer.alloc(size + 1, what))
    expect(await fetchRaw(contentOf(id), api.tokens.a)).toMatchObject({ status: 500 })
  })

  it('go to nobody without the scope, nor to another tenant, whoever knows id or digest', async () => {
    const { id, digest } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'mine' })
    const reader = await api.token(['read', 'submit', 'admin'], TENANT_A)
    expect((await get(contentOf(id), reader)).statusCode).toBe(403)
    for (const url of [contentOf(id), `/v1/artifacts/${id}`])
      expect([url, (await get(url, api.tokens.b)).statusCode]).toEqual([url, 404])
    const signed = await api.app.inject({
      method: 'POST',
      url: `/v1/artifacts/${id}/signed-url`,
      ...as(api.tokens.b),
      payload: {},
    })
    expect(signed.statusCode).toBe(404)
    for (const other of [digest, digest.slice(7), `${id}%2f..%2f${randomUUID()}`, '..%2f..%2fetc%2fpasswd'])
      expect([404, 422]).toContain((await get(contentOf(other), api.tokens.b)).statusCode)
    expect((await get(contentOf(id), api.tokens.all)).body).toBe('mine')
    expect((await get(contentOf(id), null)).statusCode).toBe(401)
  })
})

describe('a signed address', () => {
  it('gives the bytes without a token, for some minutes', async () => {
    const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'signed' })
    const { url, expires_at: expiresAt } = await sign(id, api.tokens.a)
    expect(url.startsWith(contentOf(id))).toBe(true)
    expect(Math.abs(Date.parse(expiresAt) - Date.now() - 300_000)).toBeLessThan(60_000)
    expect(await get(url, null)).toMatchObject({ statusCode: 200, body: 'signed' })
    expect(await get(url, null, { range: 'bytes=0-0' })).toMatchObject({ statusCode: 206, body: 's' })
    // A token beside it adds nothing and takes nothing away.
    expect(await get(url, api.tokens.b)).toMatchObject({ statusCode: 200 })
  })

  it('is asked for nothing but some minutes up to an hour', async () => {
    const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'signed' })
    for (const payload of [{ expires_in_seconds: 3_601 }, { expires_in_seconds: 0 }, { expires: 1 }, { host: 'x' }]) {
      const url = `/v1/artifacts/${id}/signed-url`
      expect((await api.app.inject({ method: 'POST', url, ...as(api.tokens.a), payload })).statusCode).toBe(422)
    }
  })

  it('has no host, whatever the request says of it', async () => {
    const { id } = await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'signed' })
    const answer = await api.app.inject({
      method: 'POST',
      url: `/v1/artifacts/${id}/signed-url`,
      ...as(api.tokens.a, { host: 'evil.example.org', 'x-forwarded-host': 'evil.example.org' }),
      payload: {},
    })
    expect(answer.body).not.toContain('evil')
  })

  it('is refused when it is altered, over, or used for anything else, in the same words', async () => {
    const [mine, other] = [
      await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'mine' }),
      await leaveArtifact(api, { tenantId: TENANT_A, bytes: 'other' }),
    ]
    const { url } = await sign(mine.id, api.tokens.a)
    const query = new URLSearchParams(url.split('?')[1])
    const changed = (change: Record<string, string>) =>
      `${contentOf(mine.id)}?${new URLSearchParams({ ...Object.fromEntries(query), ...change }).toString()}`
    const over = await sign(mine.id, api.tokens.a, { expires_in_seconds: 1 })
    await expect.poll(async () => (await get(over.url, null)).statusCode, { timeout: 10_000 }).toBe(403)
    const refused = [
      over.url,
      url.replace(mine.id, other.id),
      url.replace(mine.id, randomUUID()),
      changed({ expires: String(Number(query.get('expires')) + 1) }),
      changed({ expires: '99999999999' }),
      changed({ expires: '0x7fffffff' }),
      changed({ tenant: TENANT_B }),
      changed({ tenant: "' or true --" }),
      changed({ signature: '' }),
      changed({ signature: 'A'.repeat(43) }),
      changed({ signature: `${query.get('signature') ?? ''}A` }),
      `${contentOf(mine.id)}?signature=${query.get('signature') ?? ''}`,
    ]
    for (const each of refused) {
      const answer = await get(each, null)
      const { detail } = answer.json<{ detail: string }>()
      expect({ each, status: answer.statusCode, detail }).toEqual({
        each,
        status: 403,
        detail: 'the signed address is altered, has expired, or is that of another artifact',
      })
    }
    const [elsewhere, post] = [
      await get(`/v1/artifacts/${mine.id}?${query.toString()}`, null),
      await api.app.inject({
        method: 'POST',
        url: `/v1/artifacts/${mine.id}/signed-url?${query.toString()}`,
        payload: {},
      }),
    ]
    expect([elsewhere.statusCode, post.statusCode]).toEqual([401, 401])
  })

  it('is entered in the audit trail, with who asked and without its signature', async () => {
    const { id, digest } = await leaveArtifact(api, { tenantId: null, bytes: 'of nobody' })
    const { url, expires_at } = await sign(id, api.tokens.all)
    expect(await get(url, null)).toMatchObject({ statusCode: 200, body: 'of nobody' })
    const { rows } = await api.db.admin.query(`select entry, recorded_by from jobs.tb_audit where entry like $1`, [
      `%${id}%`,
    ])
    expect(rows).toHaveLength(1)
    const { entry, recorded_by } = rows[0] as { entry: string; recorded_by: string }
    expect(recorded_by).toBe('ergon_api')
    expect(JSON.parse(entry)).toEqual({
      format: 'ergon-audit/1',
      event: 'url_issued',
      artifact: { id, digest, expires_at },
      by: { token_id: expect.any(String), token_name: 'test', request_id: expect.any(String) },
    })
    expect(entry).not.toContain(new URLSearchParams(url.split('?')[1]).get('signature'))
  })
})
