import { randomBytes } from 'node:crypto'
import { setImmediate } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { as, startTestApi, TENANT_A, type TestApi } from './api-fixture.ts'

const LIMIT = 600
const SPARE = 5

let api: TestApi
/** Every statement of the API's that looks a token up. */
let lookUps = 0
beforeAll(async () => {
  // Only the clock that limits and remembered tokens go by; time stands still but where a test moves it.
  vi.useFakeTimers({ toFake: ['Date'] })
  api = await startTestApi()
  const query = api.pool.query.bind(api.pool)
  vi.spyOn(api.pool, 'query').mockImplementation((text, values) => {
    if (text.includes('find_api_token')) lookUps++
    return query(text, values)
  })
})
afterAll(async () => {
  vi.useRealTimers()
  await api.close()
})

let neighbours = 0
let address = ''
beforeEach(() => {
  address = `192.0.2.${++neighbours}`
})

const guess = () => `ergon_${randomBytes(16).toString('hex')}_${randomBytes(32).toString('base64url')}`
const get = (token: string, remoteAddress = address) =>
  api.app.inject({ method: 'GET', url: '/v1/jobs', remoteAddress, ...as(token) })
async function countLookUps<Result>(work: () => Promise<Result>): Promise<[number, Result]> {
  const before = lookUps
  const result = await work()
  return [lookUps - before, result]
}
const ask = (token: string) => countLookUps(async () => (await get(token)).statusCode)
/** Gives how often the database was asked, and how many got which status. */
const flood = async (count: number, next = guess) => {
  const [asked, answers] = await countLookUps(() => Promise.all(Array.from({ length: count }, () => get(next()))))
  // What is freed behind an answer is free.
  await setImmediate()
  const of = (status: number) => answers.filter(({ statusCode }) => statusCode === status).length
  return { asked, good: of(200), bad: of(401), refused: of(429) }
}
/** Until no guess reaches the database any more; gives how often one did. */
async function overLimit(next = guess): Promise<number> {
  for (let sum = 0; ; ) {
    const { asked, bad, refused } = await flood(200, next)
    expect(bad + refused).toBe(200)
    if (asked === 0) return sum
    sum += asked
  }
}
const wait = (ms: number) => vi.setSystemTime(Date.now() + ms)

describe('tokens that an address guesses', () => {
  it('reach the database as often as the limit says and hardly oftener', async () => {
    const asked = await overLimit()
    expect(asked).toBeGreaterThanOrEqual(LIMIT)
    expect(asked).toBeLessThanOrEqual(LIMIT + SPARE)
    // Of another address they are a matter of its own.
    expect((await get(guess(), '198.51.100.1')).statusCode).toBe(401)
    wait(1_000)
    expect(await flood(200)).toMatchObject({ asked: SPARE, refused: 200 })
    wait(60_000)
    expect(await flood(10)).toMatchObject({ asked: 10, bad: 10 })
  })

  it('reach it no oftener when all come at once', async () => {
    const { asked } = await flood(1_500)
    expect(asked).toBeLessThanOrEqual(LIMIT + SPARE)
  })

  it('with a secret of zeros are like all others', async () => {
    const asked = await overLimit(() => guess().slice(0, -43) + 'A'.repeat(43))
    expect(asked).toBeLessThanOrEqual(LIMIT + SPARE)
  })
})

describe('a good token of an address that is over its limit', () => {
  it('goes on working, also when it has to be looked up again', async () => {
    const token = await api.token(['read'], TENANT_A)
    expect((await get(token)).statusCode).toBe(200)
    await overLimit()
    expect(await ask(token)).toEqual([0, 200])
    wait(6_000)
    await flood(20)
    expect(await ask(token)).toEqual([1, 200])
    // The listening connection was away: what was believed has to be asked for.
    api.context.tokens.forget()
    expect(await ask(token)).toEqual([1, 200])
  })

  it('that nobody has used yet gets in a second later, or once the minute is over', async () => {
    const [one, other] = [await api.token(['read'], TENANT_A), await api.token(['read'], TENANT_A)]
    await overLimit()
    const refused = await get(one)
    expect(refused.statusCode).toBe(429)
    expect(refused.json()).toMatchObject({ code: 'RATE_LIMITED' })
    expect(refused.headers['retry-after']).toBe('60')
    wait(1_000)
    expect(await ask(one)).toEqual([1, 200])
    await flood(20)
    expect(await ask(other)).toEqual([0, 429])
    wait(59_000)
    expect(await ask(other)).toEqual([1, 200])
  })

  it('helps nobody who knows its id and not its secret', async () => {
    const token = await api.token(['read'], TENANT_A)
    expect((await get(token)).statusCode).toBe(200)
    await overLimit()
    const altered = () => token.slice(0, -43) + randomBytes(32).toString('base64url')
    expect(await flood(50, altered)).toMatchObject({ asked: 0, refused: 50 })
    wait(6_000)
    await flood(20)
    expect(await flood(50, altered)).toMatchObject({ asked: 0, refused: 50 })
    expect(await ask(token)).toEqual([1, 200])
  })

  it('is asked for once more when it is revoked, and then like any other', async () => {
    const token = await api.token(['read'], TENANT_A)
    expect((await get(token)).statusCode).toBe(200)
    await overLimit()
    const hex = token.split('_')[1] ?? ''
    const { rows } = await api.db.admin.query(
      'update jobs.tb_api_token set revoked_at = now() where token_id = $1 returning token_id::text as id',
      [hex],
    )
    api.context.tokens.forget(String(Object(rows[0]).id))
    expect(await ask(token)).toEqual([1, 429])
    expect(await ask(token)).toEqual([0, 429])
  })
})

describe('a token that many use at once for the first time', () => {
  it('is looked up once', async () => {
    const token = await api.token(['read'], TENANT_A)
    expect(await flood(LIMIT + 100, () => token)).toMatchObject({ asked: 1, good: LIMIT + 100 })
  })
})
