import { describe, expect, it } from 'vitest'
import { call, type Change, JOB_ID, other, serviceOf, target, useTargets } from './http-runner-fixture.ts'

useTargets()

describe('a request', () => {
  it('has its method, path, query, headers and body, and the answer as it was written', async () => {
    const answer = await call({
      path: '/echo/{id}/x',
      path_parameters: { id: 'a/b ?é' },
      query: { q: ['1 2', 'ü&'], n: 12345678901234567890n.toString() },
      headers: { 'X-Trace': 'abc' },
      body: { amount: 1.5 },
    })
    expect(answer.output?.body).toMatchObject({
      method: 'POST',
      url: '/echo/a%2Fb%20%3F%C3%A9/x?q=1+2&q=%C3%BC%26&n=12345678901234567890',
      headers: { 'x-trace': 'abc', 'content-type': 'application/json', 'idempotency-key': JOB_ID },
      body: '{"amount":1.5}',
    })
    expect((await call({ path: 'json' })).json).toContain('"body":{"answer": 42, "exact": 12345678901234567890.10}')
    expect(answer.usage).toMatchObject({ requests: 1, sent_bytes: 14 })
  })

  it.each([
    [
      '{"path":"echo","body":{"n":12345678901234567890,"f":1.0}}',
      '{"n":12345678901234567890,"f":1.0}',
      'application/json',
    ],
    ['{"path":"echo","body":{"a":[1,"b c"]},"body_type":"form"}', 'a=1&a=b+c', 'application/x-www-form-urlencoded'],
    ['{"path":"echo","body":"<x/>","headers":{"Content-Type":"text/xml"}}', '<x/>', 'text/xml'],
    ['{"path":"echo","body":"aGk=","body_type":"base64","method":"put"}', 'hi', 'application/octet-stream'],
    ['{"path":"echo","body":null}', 'null', 'application/json'],
  ])('sends the body of %s', async (input, body, contentType) => {
    const { output } = await call(input)
    expect(output?.body).toMatchObject({ body, headers: { 'content-type': contentType } })
  })

  it('goes by connections that are used again, and by none but the service has', async () => {
    const service = serviceOf({})
    const used = () => new Set(target.seen.map(({ connection }) => connection))
    for (let i = 0; i < 10; i++) await call({ path: 'json' }, {}, service)
    // A connection is free again a moment after its answer.
    expect(used().size).toBeLessThanOrEqual(2)
    const before = used()
    target.seen.length = 0
    await call({ path: 'json' })
    expect([...used()].filter((connection) => before.has(connection))).toEqual([])
  })

  it('asks no proxy of the environment', async () => {
    process.env['HTTP_PROXY'] = other.origin
    process.env['http_proxy'] = other.origin
    try {
      expect((await call({ path: 'json' })).kind).toBe('succeeded')
      expect(other.seen).toEqual([])
    } finally {
      delete process.env['HTTP_PROXY']
      delete process.env['http_proxy']
    }
  })
})

describe('credentials', () => {
  it.each([
    ['bearer', 'auth_config: {token_env_var: TOKEN}', 'authorization', 'Bearer t0ken-value'],
    [
      'basic',
      'auth_config: {username_env_var: USER, password_env_var: TOKEN}',
      'authorization',
      'Basic bWU6dDBrZW4tdmFsdWU=',
    ],
    ['api_key', 'auth_config: {api_key_env_var: TOKEN, header_name: X-Key}', 'x-key', 't0ken-value'],
  ])('%s', async (type, auth, header, value) => {
    const variables = { TOKEN: 't0ken-value', USER: 'me' }
    const change = { config: `auth_type: ${type}\n      ${auth}`, variables }
    const answer = await call({ path: 'echo' }, change)
    expect(answer.output?.body).toMatchObject({ headers: { [header]: value } })
    if (type === 'basic') expect(answer.secrets).toEqual(['bWU6dDBrZW4tdmFsdWU='])
    const override = await call({ path: 'echo', headers: { [header.toUpperCase()]: 'mine' } }, change)
    expect(override).toMatchObject({ category: 'VALIDATION_ERROR', code: 'INPUT_INVALID' })
  })

  it('are dropped on the way to another origin, and do not come back', async () => {
    const change: Change = {
      base: `http://api.test:${target.port}`,
      config: `auth_type: bearer\n      auth_config: {token_env_var: TOKEN}\n      headers: {X-Account: acct}`,
      variables: { TOKEN: 't0ken-value' },
      policy: 'allowed_domains: [api.test, other.test]',
      lookUp: () => Promise.resolve(['127.0.0.1']),
    }
    const same = await call({ path: `redirect/302`, query: { to: '/echo' }, headers: { Cookie: 'c=1' } }, change)
    expect(same.output?.body).toMatchObject({ headers: { authorization: 'Bearer t0ken-value', cookie: 'c=1' } })
    // There is no server at port 80 of the other host: what counts is that it is asked, and with what.
    const away = await call({ path: 'redirect/307', query: { to: 'http://other.test/echo' } }, change)
    expect(away.code).toBe('UPSTREAM_CONNECTION')
  })
})

describe('answers', () => {
  it.each([
    ['status/404', 'USER_CODE_ERROR', 'HTTP_STATUS', 404],
    ['status/429', 'DEPENDENCY_ERROR', 'UPSTREAM_THROTTLED', 429],
    ['status/408', 'DEPENDENCY_ERROR', 'UPSTREAM_STATUS', 408],
    ['status/503', 'DEPENDENCY_ERROR', 'UPSTREAM_STATUS', 503],
  ])('%s is %s %s, with its body', async (page, category, code, status) => {
    const answer = await call({ path: page })
    expect(answer).toMatchObject({ category, code, output: { status_code: status, body: { status } } })
    expect(answer.failure?.evidence).toEqual({ counter: 'status_code', limit: null, observed: status })
  })

  it.each([
    ['cut', 'UPSTREAM_CONNECTION'],
    ['garbage', 'UPSTREAM_PROTOCOL'],
    ['broken-zip', 'UPSTREAM_PROTOCOL'],
  ])('%s is DEPENDENCY_ERROR %s', async (page, code) => {
    expect(await call({ path: page })).toMatchObject({ category: 'DEPENDENCY_ERROR', code })
  })

  it('a port that nobody listens at, and a name that nobody knows', async () => {
    expect(await call({}, { base: 'http://127.0.0.1:1' })).toMatchObject({ code: 'UPSTREAM_CONNECTION' })
    const lookUp = () => Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }))
    expect(await call({}, { base: 'http://none.test', lookUp })).toMatchObject({ code: 'UPSTREAM_DNS' })
    expect(await call({}, { base: `https://127.0.0.1:${target.port}` })).toMatchObject({ code: 'UPSTREAM_TLS' })
  })

  it('decodes what is compressed', async () => {
    expect((await call({ path: 'zipped' })).output?.body).toEqual({ zipped: true })
  })

  it.each(['flood', 'flood?length=99999999', 'bomb'])('%s ends at the limit', async (page) => {
    const answer = await call({ path: page }, { policy: 'max_response_size: 1000000' })
    expect(answer).toMatchObject({ category: 'RESOURCE_LIMIT', code: 'RESPONSE_SIZE', json: null, artifacts: [] })
    expect(answer.failure?.evidence).toMatchObject({ counter: 'response_bytes', limit: 1_000_000 })
  })

  it('large, binary and dubious bodies become files', async () => {
    const large = await call({ path: 'bytes/300000' })
    expect(large).toMatchObject({ kind: 'succeeded', output: { body: null } })
    expect(large.artifacts).toMatchObject([{ name: 'body.bin', format: 'bin', file: { sizeBytes: 300_000 } }])
    expect((await call({ path: 'picture' })).artifacts).toMatchObject([{ name: 'body.png', format: 'png', width: 1 }])
    const doubtful = await call({ path: 'false-picture' })
    expect(doubtful.artifacts).toMatchObject([{ name: 'body.bin', contentType: 'application/octet-stream' }])
    expect(doubtful.messages.join()).toContain('does not begin as one')
  })

  it('a body above its limit is not sent', async () => {
    const answer = await call({ path: 'echo', body: 'x'.repeat(200) }, { policy: 'max_request_size: 100' })
    expect(answer).toMatchObject({ category: 'RESOURCE_LIMIT', code: 'REQUEST_SIZE' })
    expect(target.seen).toEqual([])
  })
})

describe('retries within the attempt', () => {
  const config = 'retry_config: {max_retries: 2, backoff_factor: 0.01, retry_status_codes: [503]}'

  it('are made for the listed statuses, with the same key', async () => {
    const answer = await call({ path: 'flaky/2', body: {} }, { config })
    expect(answer).toMatchObject({ kind: 'succeeded', usage: { requests: 3 } })
    expect(new Set(target.seen.map(({ headers }) => headers['idempotency-key']))).toEqual(new Set([JOB_ID]))
    expect(await call({ path: 'status/500' }, { config })).toMatchObject({ usage: { requests: 1 } })
    expect(await call({ path: 'status/503' }, { config })).toMatchObject({ usage: { requests: 3 } })
  })

  it('wait as long as the server asks, and not at all where there is no time for it', async () => {
    const startedAt = performance.now()
    expect(await call({ path: 'flaky/1?retry-after=1' }, { config })).toMatchObject({ kind: 'succeeded' })
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(990)
    const never = await call({ path: 'status/503?retry-after=3600' }, { config })
    expect(never).toMatchObject({ code: 'UPSTREAM_STATUS', usage: { requests: 1 } })
  })
})

describe('redirects', () => {
  it('that lead nowhere are failures, with what came', async () => {
    const nowhere = await call({ path: 'status/302' })
    expect(nowhere).toMatchObject({ category: 'DEPENDENCY_ERROR', code: 'REDIRECT_INVALID' })
    expect(nowhere.output).toMatchObject({ status_code: 302, body: { status: 302 } })
    expect(nowhere.failure?.message).toContain('without a Location')
    const broken = await call({ path: 'redirect/308', query: { to: 'http://[broken' } })
    expect(broken).toMatchObject({ code: 'REDIRECT_INVALID', failure: { details: { status_code: 308 } } })
    expect(broken.failure?.message).toContain('"http://[broken"')
    expect(await call({ path: 'status/304' })).toMatchObject({ kind: 'succeeded' })
  })

  it('and repetitions are bounded together', async () => {
    const config = 'retry_config: {max_retries: 10, backoff_factor: 0.001, retry_status_codes: [503]}'
    const hops = (count: number, last: string): string =>
      count === 0 ? last : `/redirect/302?to=${encodeURIComponent(hops(count - 1, last))}`
    const asPath = (url: string) => {
      const { pathname, searchParams } = new URL(url, target.origin)
      return { path: pathname, query: Object.fromEntries(searchParams) }
    }
    const ended = await call(asPath(hops(4, '/status/503')), { config })
    expect(ended).toMatchObject({ code: 'TOO_MANY_REDIRECTS', failure: { evidence: { limit: 20, observed: 21 } } })
    // 5 times 5 requests, and the one whose redirect is not followed any more.
    expect(ended.usage).toMatchObject({ requests: 26 })
    // A circle is one for whoever walks it again.
    const round = await call(asPath(hops(11, '/json')), { config })
    expect(round).toMatchObject({ code: 'TOO_MANY_REDIRECTS', usage: { requests: 11 } })
  })
})

describe('the session of a service', () => {
  it('stays out of what is recorded of an answer', async () => {
    const variables = { TOKEN: 't0ken-value' }
    const config = 'auth_type: bearer\n      auth_config: {token_env_var: TOKEN}'
    const own = await call({ path: 'session' }, { config, variables })
    expect(own.output?.headers).toMatchObject({ 'x-page': '2' })
    expect(own.json).not.toMatch(/s3ssion|realm/)
    expect(own.messages).toContain(
      "set-cookie, www-authenticate of the answer: left out of output_data, since the session is the service's own",
    )
    // A service without credentials has no session but the caller's.
    expect((await call({ path: 'session' })).output?.headers).toMatchObject({ 'set-cookie': 'sid=s3ssion' })
  })
})

describe('time', () => {
  it.each([
    ['silent', 'headers_timeout: 0.2', 20, 'DEPENDENCY_ERROR', 'UPSTREAM_TIMEOUT'],
    ['slow', 'body_timeout: 0.2', 20, 'DEPENDENCY_ERROR', 'UPSTREAM_TIMEOUT'],
    ['slow', 'timeout: 0.2', 20, 'DEPENDENCY_ERROR', 'UPSTREAM_TIMEOUT'],
    ['slow', '', 0.2, 'RESOURCE_LIMIT', 'WALL_TIME'],
  ])('%s with %s and %s s ends as %s %s', async (page, config, timeoutSeconds, category, code) => {
    expect(await call({ path: page }, { config, timeoutSeconds })).toMatchObject({ category, code })
  })

  it('a connection that is never made', async () => {
    const change: Change = {
      base: 'http://slow.test',
      config: 'connect_timeout: 0.2',
      lookUp: () => new Promise(() => {}),
    }
    expect(await call({}, change)).toMatchObject({ code: 'UPSTREAM_TIMEOUT' })
  })

  it('a cancelled job hangs up', async () => {
    const controller = new AbortController()
    const service = serviceOf({})
    const running = call({ path: 'slow' }, { signal: controller.signal }, service)
    while (target.seen.length === 0) await new Promise((resolve) => setImmediate(resolve))
    const before = target.connections.open
    controller.abort()
    expect(await running).toMatchObject({ kind: 'cancelled' })
    while (target.connections.open >= before) await new Promise((resolve) => setImmediate(resolve))
    const again = call({ path: 'slow' }, {}, service)
    while (target.seen.length === 1) await new Promise((resolve) => setImmediate(resolve))
    expect(service.runner.cancel(JOB_ID)).toBe(true)
    expect(await again).toMatchObject({ kind: 'cancelled' })
    expect(service.runner.cancel(JOB_ID)).toBe(false)
  })
})
