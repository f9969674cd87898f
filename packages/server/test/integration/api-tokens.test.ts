import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { as, startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'

let api: TestApi
beforeAll(async () => {
  api = await startTestApi()
})
afterAll(() => api.close())

describe('a token', () => {
  const get = (authorization?: string) =>
    api.app.inject({ method: 'GET', url: '/v1/jobs', headers: authorization === undefined ? {} : { authorization } })

  it.each([
    ['none', undefined, 'TOKEN_REQUIRED'],
    ['basic', 'Basic YTpi', 'TOKEN_REQUIRED'],
    ['nonsense', 'Bearer x', 'TOKEN_INVALID'],
    ['unknown', `Bearer ergon_${'0'.repeat(32)}_${'A'.repeat(43)}`, 'TOKEN_INVALID'],
    ['SQL', `Bearer ergon_'or 1=1--`, 'TOKEN_REQUIRED'],
  ])('that is %s is refused', async (_, authorization, code) => {
    const answer = await get(authorization)
    expect({ status: answer.statusCode, code: answer.json<{ code: string }>().code }).toEqual({ status: 401, code })
    expect(answer.headers['www-authenticate']).toBe('Bearer')
  })

  it('with another secret is refused in the same words as one that is unknown', async () => {
    const altered = api.tokens.a.slice(0, -2) + (api.tokens.a.endsWith('AA') ? 'BB' : 'AA')
    const [one, other] = [await get(`Bearer ${altered}`), await get(`Bearer ergon_${'0'.repeat(32)}_${'A'.repeat(43)}`)]
    expect(one.json<{ detail: string }>().detail).toBe(other.json<{ detail: string }>().detail)
  })

  it('does what its scopes say and nothing else', async () => {
    const reader = await api.token(['read'], TENANT_A)
    expect((await get(`Bearer ${reader}`)).statusCode).toBe(200)
    for (const [method, url] of [
      ['POST', '/v1/jobs'],
      ['POST', `/v1/jobs/${randomUUID()}/cancel`],
      ['GET', '/v1/dead-letters'],
    ] as const) {
      const answer = await api.app.inject({ method, url, ...as(reader), ...(method === 'POST' ? { payload: {} } : {}) })
      expect({ url, status: answer.statusCode, code: answer.json<{ code: string }>().code }).toEqual({
        url,
        status: 403,
        code: 'SCOPE_MISSING',
      })
    }
  })

  it.each([
    ['entity_type', { entity_type: 'Order' }],
    ['entity_pk', { entity_pk: '7' }],
  ])('says for which entity a job is, by %s, with a scope of its own alone', async (field, entity) => {
    const correlation_id = randomUUID()
    const call = { service: 'Echo', operation: 'say', input: { words: 'x' }, correlation_id }
    const submit = (token: string, url: string, body: object) =>
      api.app.inject({ method: 'POST', url, ...as(token), payload: body })
    const submitter = await api.token(['submit', 'read', 'cancel', 'artifacts', 'admin'], TENANT_A)
    for (const [url, body, place] of [
      ['/v1/jobs', { ...call, ...entity }, `body/${field}`],
      ['/v1/jobs/batch', { jobs: [call, { ...call, ...entity }] }, `body/jobs/1/${field}`],
    ] as const) {
      const answer = await submit(submitter, url, body)
      expect(answer.statusCode).toBe(403)
      expect(answer.json()).toMatchObject({ code: 'SCOPE_MISSING' })
      expect(answer.json<{ detail: string }>().detail).toContain(`${place} needs the scope "entities"`)
    }
    const list = async (query: string) => {
      const answer = await api.app.inject({
        method: 'GET',
        url: `/v1/jobs?correlation_id=${correlation_id}${query}`,
        ...as(submitter),
      })
      return answer.json<{ items: object[] }>().items
    }
    expect(await list('')).toEqual([])

    const namer = await api.token(['submit', 'entities'], TENANT_A)
    expect((await submit(namer, '/v1/jobs', { ...call, ...entity })).json()).toMatchObject(entity)
    expect((await submit(namer, '/v1/jobs/batch', { jobs: [{ ...call, ...entity }] })).statusCode).toBe(201)
    // Who may read may look for an entity.
    expect(await list(`&${new URLSearchParams(entity).toString()}`)).toHaveLength(2)
  })

  it('that names entities and may not submit submits nothing', async () => {
    const namer = await api.token(['entities'], TENANT_A)
    const payload = { service: 'Echo', operation: 'say', input: { words: 'x' }, entity_type: 'Order' }
    const answer = await api.app.inject({ method: 'POST', url: '/v1/jobs', ...as(namer), payload })
    expect(answer.json<{ detail: string }>().detail).toContain('this needs the scope "submit"')
  })

  it('that has ended is not believed any more', async () => {
    const token = await api.token(['read'], TENANT_A)
    expect((await get(`Bearer ${token}`)).statusCode).toBe(200)
    const id = token.split('_')[1]
    await api.db.admin.query(`update jobs.tb_api_token set revoked_at = now() where token_id = $1`, [id])
    // Here nobody listens for it: what was looked up is believed for some seconds, and no longer.
    api.context.tokens.forget()
    expect((await get(`Bearer ${token}`)).statusCode).toBe(401)
  })

  it('is kept as a digest alone', async () => {
    const { rows } = await api.db.admin.query('select * from jobs.tb_api_token')
    const secret = Buffer.from(api.tokens.a.slice(-43), 'base64url')
    const text = JSON.stringify(rows)
    for (const form of ['base64url', 'base64', 'hex', 'latin1'] as const)
      expect(text).not.toContain(secret.toString(form))
    expect(text).not.toContain(JSON.stringify([...secret]).slice(1, -1))
  })

  it('may ask so often and no oftener, whoever else asks', async () => {
    const slow = await api.token(['read'], TENANT_A, 3)
    const statuses = []
    for (let time = 0; time < 5; time++) statuses.push((await get(`Bearer ${slow}`)).statusCode)
    expect(statuses).toEqual([200, 200, 200, 429, 429])
    expect((await get(`Bearer ${api.tokens.a}`)).statusCode).toBe(200)
  })

  it('of somebody else who asks too often keeps nobody from asking whether the API runs', async () => {
    const ask = (url: string, remoteAddress: string) => api.app.inject({ method: 'GET', url, remoteAddress })
    for (let n = 0; n < 650; n++) await ask('/v1/jobs', `2001:db8:1:1::${n.toString(16)}`)
    // A whole /64 is one caller.
    expect((await ask('/v1/jobs', '2001:db8:1:1:ffff::1')).statusCode).toBe(429)
    expect((await ask('/v1/jobs', '2001:db8:1:2::1')).statusCode).toBe(401)
    for (const url of ['/health', '/ready']) expect((await ask(url, '2001:db8:1:1::1')).statusCode).toBe(200)
  })

  it('cannot be guessed for ever from one address', async () => {
    const guess = () =>
      api.app.inject({
        method: 'GET',
        url: '/v1/jobs',
        remoteAddress: '192.0.2.7',
        headers: { authorization: `Bearer ergon_${'0'.repeat(32)}_${'A'.repeat(43)}` },
      })
    const statuses = await Promise.all(Array.from({ length: 650 }, guess))
    expect(statuses.filter(({ statusCode }) => statusCode === 429)).toHaveLength(50)
  })
})
