import { describe, expect, test } from 'vitest'
import { ErgonApiError, ErgonConnectionError } from './api-error.ts'
import { ErgonClient } from './client.ts'
import { collect, events, json, problem, scriptedClient } from './client.fixture.ts'

const ID = '0b0e7f0c-2a55-4a0e-9d1c-1f1f4f3f3f3f'
const call = { service: 'co2', operation: 'fit', input: { years: 10 } }
const job = (state: string) => ({ job_id: ID, state })
const AWAY = new TypeError('fetch failed', { cause: new Error('connect ECONNREFUSED') })

test('a token that no header can hold is refused, and not shown', () => {
  const make = () => new ErgonClient({ url: 'https://api.test', token: 'ergon_secret\nx' })
  expect(make).toThrow(/^token: expected what/)
  expect(make).not.toThrow(/secret/)
})

describe('submit', () => {
  test('sends the job with the token and a key of its own', async () => {
    const { client, sent } = scriptedClient([json(job('pending'), 201), json(job('pending'), 201)])
    expect(await client.submit(call)).toEqual(job('pending'))
    await client.submit(call)
    const [first, second] = sent
    expect(first).toMatchObject({ method: 'POST', url: 'https://api.test/ergon/v1/jobs' })
    expect(JSON.parse(first?.body ?? '')).toEqual(call)
    expect(first?.headers.get('authorization')).toBe('Bearer ergon_secret')
    expect(first?.headers.get('idempotency-key')).toMatch(/^[0-9a-f]{32}$/)
    expect(first?.headers.get('idempotency-key')).not.toBe(second?.headers.get('idempotency-key'))
  })

  test('is repeated with the same key and body while the API is away', async () => {
    const { client, sent, sleeps } = scriptedClient([
      AWAY,
      problem(503, 'DATABASE_UNREACHABLE', { 'retry-after': '1' }),
      problem(429, 'RATE_LIMITED', { 'retry-after': '20' }),
      new Response('<html>bad gateway</html>', { status: 502 }),
      json(job('pending'), 201),
    ])
    await client.submit(call)
    expect(sleeps).toEqual([200, 1_400, 20_800, 1_600])
    expect(new Set(sent.map(({ headers }) => headers.get('idempotency-key'))).size).toBe(1)
    expect(new Set(sent.map(({ body }) => body)).size).toBe(1)
  })

  test('waits for the job where it is asked to', async () => {
    const { client, sent } = scriptedClient([json(job('completed'), 201)])
    expect(await client.submit(call, { waitSeconds: 10 })).toEqual(job('completed'))
    expect(sent[0]?.url).toBe('https://api.test/ergon/v1/jobs?wait=10')
  })

  test('takes a key of the caller', async () => {
    const { client, sent } = scriptedClient([json({ items: [job('pending')] }, 201)])
    expect(await client.submitBatch([call], { idempotencyKey: 'order-7' })).toEqual([job('pending')])
    expect(sent[0]?.headers.get('idempotency-key')).toBe('order-7')
    expect(JSON.parse(sent[0]?.body ?? '')).toEqual({ jobs: [call] })
  })

  test('ends with what was wrong last, when it goes on', async () => {
    const { client, sent } = scriptedClient(Array.from({ length: 9 }, () => AWAY))
    const error: unknown = await client.submit(call).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(ErgonConnectionError)
    expect(String(error)).toContain('POST https://api.test/ergon/v1/jobs: fetch failed: connect ECONNREFUSED')
    expect(String(error)).not.toContain('ergon_secret')
    expect(sent).toHaveLength(6)
  })

  test('an answer that breaks off is no answer', async () => {
    const { client, sent } = scriptedClient([events(['{"job_id'], 'broken'), json(job('pending'))])
    expect(await client.submit(call)).toEqual(job('pending'))
    expect(sent).toHaveLength(2)
  })
})

describe('refusals', () => {
  const refusal = (response: Response) => {
    const { client, sent } = scriptedClient([response])
    return client.get(ID).then(
      () => Promise.reject(new Error('it was not refused')),
      (error: unknown) => ({ error, tries: sent.length }),
    )
  }

  test('are told as the problem document says', async () => {
    const places = [{ pointer: '/input', message: 'missing' }]
    const told = { code: 'REQUEST_INVALID', detail: 'body/input: missing', request_id: 'r-7', errors: places }
    const { error, tries } = await refusal(json(told, 422))
    expect(error).toBeInstanceOf(ErgonApiError)
    expect(error).toMatchObject({ status: 422, code: told.code, detail: told.detail, requestId: 'r-7', errors: places })
    expect(String(error)).toBe('ErgonApiError: body/input: missing (REQUEST_INVALID, HTTP 422, request r-7)')
    expect(tries).toBe(1)
  })

  test.each([
    [
      'a page of another server',
      new Response('<h1>nginx</h1>', { status: 404, headers: { 'content-type': 'text/html' } }),
      /text\/html: <h1>nginx/,
    ],
    ['a log-in page', new Response('<form>', { headers: { 'content-type': 'text/html' } }), /no JSON but text\/html/],
    ['JSON of another program', json({ error: 'no' }, 400), /no problem document/],
    [
      'a redirection',
      new Response(null, { status: 308, headers: { location: 'https://other.test/' } }),
      /to https:\/\/other.test\//,
    ],
  ])('%s is told as what it is', async (_what, response, words) => {
    const { error } = await refusal(response)
    expect(error).toMatchObject({ code: 'HTTP_ERROR', detail: expect.stringMatching(words) })
  })

  test('no more of an error is read than an error can be long', async () => {
    let pulled = 0
    const endless = new ReadableStream<Uint8Array>({
      pull(controller) {
        pulled++
        controller.enqueue(new Uint8Array(65_536).fill(0x20))
      },
    })
    expect((await refusal(new Response(endless, { status: 400 }))).error).toMatchObject({ code: 'HTTP_ERROR' })
    expect(pulled).toBeLessThan(10)
  })
})

describe('wait', () => {
  test('asks again until the end, also while the API starts again', async () => {
    const { client, sent } = scriptedClient([
      json(job('pending')),
      ...Array.from({ length: 12 }, () => AWAY),
      problem(503, 'DATABASE_UNREACHABLE'),
      json(job('running')),
      json(job('completed')),
    ])
    expect(await client.wait(ID)).toEqual(job('completed'))
    expect(sent.every(({ url }) => url === `https://api.test/ergon/v1/jobs/${ID}?wait=50`)).toBe(true)
  })

  test('does not run around where the API answers at once', async () => {
    const { client, sleeps } = scriptedClient([json(job('running')), json(job('running')), json(job('failed'))])
    await client.wait(ID)
    expect(sleeps).toEqual([500, 500])
  })

  test('gives up when the API stays away', async () => {
    const { client, sleeps } = scriptedClient(Array.from({ length: 200 }, () => AWAY))
    await expect(client.wait(ID)).rejects.toThrow(ErgonConnectionError)
    expect(sleeps.reduce((sum, ms) => sum + ms, 0)).toBeLessThanOrEqual(120_000)
    expect(sleeps.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(110_000)
  })

  test('ends with the signal, whatever it is at', async () => {
    const stop = new AbortController()
    const { client } = scriptedClient([
      ({ signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => reject(signal.reason as Error))
          stop.abort(new Error('enough'))
        }),
    ])
    await expect(client.wait(ID, { signal: stop.signal })).rejects.toThrow('enough')
  })
})

describe('retry', () => {
  test('is not asked twice where it is not known whether it was heard', async () => {
    const { client, sent } = scriptedClient([AWAY, json(job('pending'))])
    await expect(client.retry(ID)).rejects.toThrow(ErgonConnectionError)
    expect(sent).toHaveLength(1)
  })

  test('is asked again where it was not done', async () => {
    const { client } = scriptedClient([problem(429, 'RATE_LIMITED'), json(job('pending'))])
    expect(await client.retry(ID)).toEqual(job('pending'))
  })
})

describe('list', () => {
  test('takes pages as they are needed', async () => {
    const { client, sent } = scriptedClient([
      json({ items: [{ job_id: '1' }, { job_id: '2' }], next_cursor: 'c 1' }),
      json({ items: [{ job_id: '3' }], next_cursor: null }),
    ])
    const jobs = client.list({ service: 'co2', status: 'failed' }, { pageSize: 2 })
    expect((await jobs.next()).value).toEqual({ job_id: '1' })
    expect(sent).toHaveLength(1)
    expect((await collect(jobs)).map(({ job_id: id }) => id)).toEqual(['2', '3'])
    expect(sent.map(({ url }) => url.split('?')[1])).toEqual([
      'service=co2&status=failed&limit=2',
      'service=co2&status=failed&limit=2&cursor=c+1',
    ])
  })
})

describe('other calls', () => {
  test('ask what they are to ask', async () => {
    const { client, sent } = scriptedClient([
      json({ items: [1] }),
      json({ url: '/v1/artifacts/a/content?signature=s', expires_at: 'then' }, 201),
      json({ digest: 'sha256:0' }),
      json({ items: [2] }),
      json({ name: 'a/b' }),
      json({ stdout: {} }),
      new Response('bytes'),
    ])
    expect(await client.artifacts(ID)).toEqual([1])
    expect((await client.signedUrl('a', { expiresInSeconds: 60 })).url).toBe(
      'https://api.test/ergon/v1/artifacts/a/content?signature=s',
    )
    await client.uploadDataset('my data.csv', 'x,y\n')
    expect(await client.environments()).toEqual([2])
    await client.service('a/b')
    await client.logs(ID, { attempt: 2, stdoutOffset: 7 })
    expect(new TextDecoder().decode(await client.download('a'))).toBe('bytes')
    expect(sent.map(({ method, url }) => `${method} ${url.slice('https://api.test/ergon'.length)}`)).toEqual([
      `GET /v1/jobs/${ID}/artifacts`,
      'POST /v1/artifacts/a/signed-url',
      'PUT /v1/datasets?name=my+data.csv',
      'GET /v1/environments',
      'GET /v1/services/a%2Fb',
      `GET /v1/jobs/${ID}/logs?attempt=2&stdout_offset=7`,
      'GET /v1/artifacts/a/content',
    ])
  })

  test('carry numbers that a double cannot hold, for who asks for it', async () => {
    const text = `{"job_id":"${ID}","outputs":{"result_json":12345678901234567890}}`
    const { client } = scriptedClient([new Response(text)], { parseJson: (raw) => ({ raw }) })
    expect(await client.get(ID)).toEqual({ raw: text })
  })
})
