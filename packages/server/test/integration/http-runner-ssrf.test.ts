import { describe, expect, it } from 'vitest'
import { call, type Change, other, serviceOf, target, useTargets } from './http-runner-fixture.ts'

useTargets()

describe('SSRF', () => {
  it.each([
    ['http://169.254.169.254/latest/meta-data/', 'DOMAIN_DENIED'],
    ['//169.254.169.254/', 'DOMAIN_DENIED'],
    ['http://2852039166/', 'DOMAIN_DENIED'],
    ['http://[::1]/', 'DOMAIN_DENIED'],
    ['http://１６９.254.169.254/', 'DOMAIN_DENIED'],
    ['file:///etc/passwd', 'DOMAIN_DENIED'],
    ['gopher://127.0.0.1/', 'DOMAIN_DENIED'],
  ])('%s is refused: %s', async (endpoint, code) => {
    expect(await call({ endpoint })).toMatchObject({ category: 'SANDBOX_VIOLATION', code })
  })

  const open = 'allowed_domains: ["*"]'
  it.each([
    'http://169.254.169.254/',
    'http://2852039166/',
    'http://0xa9fea9fe/',
    'http://0251.0376.0251.0376/',
    'http://10.0.0.1/',
    'http://192.168.1.1/',
    'http://172.16.0.1/',
    'http://100.64.0.1/',
    'http://0.0.0.0/',
    'http://[::1]/',
    'http://[::]/',
    'http://[::ffff:10.0.0.1]/',
    'http://[::10.0.0.1]/',
    'http://[64:ff9b::a00:1]/',
    'http://[fe80::1]/',
    'http://[fd00:ec2::254]/',
  ])('%s is refused although every name is allowed', async (endpoint) => {
    const direct = await call({ endpoint }, { policy: open })
    expect(direct).toMatchObject({ category: 'SANDBOX_VIOLATION', code: 'ADDRESS_DENIED' })
    const redirected = await call({ path: 'redirect/302', query: { to: endpoint } }, { policy: open })
    expect(redirected).toMatchObject({ category: 'SANDBOX_VIOLATION', code: 'ADDRESS_DENIED' })
    expect(redirected.failure?.evidence).toEqual({ counter: 'denied_destinations', limit: 0, observed: 1 })
  })

  it('another port of the same host is another place', async () => {
    const denied = await call({ path: 'redirect/302', query: { to: `${other.origin}/echo` } })
    expect(denied).toMatchObject({ category: 'SANDBOX_VIOLATION', code: 'DOMAIN_DENIED' })
    expect(other.seen).toEqual([])
  })

  it('a name that answers with another address the second time is judged by what is connected to', async () => {
    let asked = 0
    const change: Change = {
      base: `http://rebind.test:${target.port}`,
      lookUp: () => Promise.resolve(++asked === 1 ? ['127.0.0.1'] : ['10.0.0.1']),
      policy: 'max_response_size: 1000',
    }
    const service = serviceOf(change)
    expect(await call({ path: 'json' }, change, service)).toMatchObject({ kind: 'succeeded' })
    await new Promise((resolve) => setTimeout(resolve, 50))
    // A flood ends the connection, so the next request needs another one, and another look-up.
    expect(await call({ path: 'flood' }, change, service)).toMatchObject({ code: 'RESPONSE_SIZE' })
    expect(await call({ path: 'json' }, change, service)).toMatchObject({ code: 'ADDRESS_DENIED' })
    expect(asked).toBe(2)
  })

  it('a name with one private address among others is refused as a whole', async () => {
    const change: Change = {
      base: `http://mixed.test:${target.port}`,
      lookUp: () => Promise.resolve(['127.0.0.1', '10.0.0.1']),
    }
    expect(await call({ path: 'json' }, change)).toMatchObject({ code: 'ADDRESS_DENIED' })
    expect(target.seen).toEqual([])
  })

  it('slow servers of one zone keep no name of another one waiting', async () => {
    const change: Change = {
      policy: 'allowed_domains: ["*"]',
      config: 'connect_timeout: 1',
      lookUp: (name) => (name.endsWith('.slow.test') ? new Promise(() => {}) : Promise.resolve(['10.0.0.1'])),
    }
    const service = serviceOf(change)
    const slow = ['a', 'b', 'c'].map((name) => call({ endpoint: `http://${name}.slow.test/` }, change, service))
    // Refused, so it was looked up.
    expect(await call({ endpoint: 'http://fast.test/' }, change, service)).toMatchObject({ code: 'ADDRESS_DENIED' })
    for (const each of await Promise.all(slow)) expect(each).toMatchObject({ code: 'UPSTREAM_TIMEOUT' })
  })

  it('each use of a private network leaves a line in the job’s logs', async () => {
    const { messages } = await call({ path: 'json' })
    expect(messages).toEqual([
      `audit: ${target.origin} is at the private address 127.0.0.1, which the service's allowed_networks open`,
    ])
  })

  it.each([
    '../admin',
    'a/%2e%2e/b',
    'a/..%2fb',
    'a/%252e%252e/b',
    'a\\..\\b',
    'a b',
    'a#b',
    'a/{id}',
    './x',
    '..;/admin',
    'a/..;b=c/d',
    'a/..%3bb/c',
    '.;/x',
  ])('the path %s is refused', async (escape) => {
    const answer = await call({ path: escape }, { base: `${target.origin}/v1` })
    expect(answer).toMatchObject({ category: 'VALIDATION_ERROR', code: 'INPUT_INVALID' })
  })

  it.each([{ id: '..' }, { id: '../x' }, { id: '' }, { id: '.' }, {}, { id: 'a', more: 'b' }])(
    'the path parameters %j are refused',
    async (parameters) => {
      expect(await call({ path: 'users/{id}', path_parameters: parameters })).toMatchObject({ code: 'INPUT_INVALID' })
    },
  )

  it('a last dot opens no other port of the same host', async () => {
    const change = { base: `http://api.test:${target.port}`, lookUp: () => Promise.resolve(['127.0.0.1']) }
    const answer = await call({ endpoint: 'http://api.test./json' }, change)
    expect(answer).toMatchObject({ category: 'SANDBOX_VIOLATION', code: 'DOMAIN_DENIED' })
  })

  it.each(['http://api.test./admin', 'https://api.test/admin', 'https://API.test./admin'])(
    '%s cannot leave the path of http://api.test/v1',
    async (endpoint) => {
      const change = { base: 'http://api.test/v1', lookUp: () => Promise.resolve(['127.0.0.1']) }
      expect(await call({ endpoint }, change)).toMatchObject({ code: 'INPUT_INVALID' })
    },
  )

  it.each(['X_API_Key', 'x-api_key', 'Transfer_Encoding', 'Content_Length'])(
    'the header %s is refused, since gateways take it for the same with "-"',
    async (name) => {
      const change = {
        config: 'auth_type: api_key\n      auth_config: {api_key_env_var: KEY}',
        variables: { KEY: 'k-e-y-0' },
      }
      expect(await call({ path: 'echo', headers: { [name]: 'x' } }, change)).toMatchObject({ code: 'INPUT_INVALID' })
    },
  )

  it('a whole URL of the base’s origin cannot leave the path of base_url', async () => {
    const answer = await call({ endpoint: `${target.origin}/json` }, { base: `${target.origin}/v1` })
    expect(answer).toMatchObject({ code: 'INPUT_INVALID' })
  })

  it.each(['/echo', '/redirected', '/redirect/..%2fecho', '/redirect/%252e%252e/echo', '/redirect/..;/echo'])(
    'a redirect to %s cannot leave the path of base_url either, with its credentials or without',
    async (to) => {
      const change: Change = {
        base: `${target.origin}/redirect`,
        config: 'auth_type: bearer\n      auth_config: {token_env_var: TOKEN}',
        variables: { TOKEN: 't0ken-value' },
      }
      const answer = await call({ path: '302', query: { to } }, change)
      expect(answer).toMatchObject({ category: 'SANDBOX_VIOLATION', code: 'PATH_DENIED' })
      expect(target.seen).toHaveLength(1)
    },
  )

  it.each([
    'Host',
    'Transfer-Encoding',
    'Connection',
    'Content-Length',
    'Proxy-Authorization',
    'authorization',
    'a b',
    'é',
  ])('the header %s is refused', async (name) => {
    expect(await call({ path: 'echo', headers: { [name]: 'x' } })).toMatchObject({ code: 'INPUT_INVALID' })
  })

  it('a header cannot hold a line break', async () => {
    expect(await call({ path: 'echo', headers: { x: 'a\r\nHost: b' } })).toMatchObject({ code: 'INPUT_INVALID' })
  })
})

describe('redirects', () => {
  it.each([
    [301, 'POST', 'GET', ''],
    [302, 'POST', 'GET', ''],
    [303, 'PUT', 'GET', ''],
    [307, 'POST', 'POST', '"b"'],
    [308, 'PUT', 'PUT', '"b"'],
    [301, 'PUT', 'PUT', '"b"'],
  ])('%i of %s is %s', async (status, method, becomes, body) => {
    const { output } = await call({ path: `redirect/${status}`, query: { to: '/echo' }, method, body: 'b' })
    expect(output?.body).toMatchObject({ method: becomes, body })
    expect(target.seen.at(-1)?.headers['content-type']).toBe(body === '' ? undefined : 'application/json')
  })

  it('are not followed for ever', async () => {
    const twice = `/redirect/302?to=${encodeURIComponent('/redirect/302?to=/json')}`
    expect(await call({ path: twice })).toMatchObject({ kind: 'succeeded', usage: { requests: 3 } })
    const endless = await call({ path: 'redirect/302', query: { to: '#' } })
    expect(endless).toMatchObject({ category: 'DEPENDENCY_ERROR', code: 'TOO_MANY_REDIRECTS' })
    expect(target.seen.length).toBeLessThan(20)
  })
})

describe('configurations that are refused', () => {
  it.each([
    [{ base: 'http://10.0.0.1' }, 'allowed_networks: ["10.0.0.1/32"]'],
    [{ config: 'headers: {Host: x}' }, 'runner_config.headers.Host'],
    [{ base: 'http://user:pass@127.0.0.1:1' }, 'user name or password'],
    [{ base: 'http://127.0.0.1:1/#x' }, 'fragment'],
    [
      { config: 'auth_type: bearer\n      auth_config: {token_env_var: TOKEN}', variables: { TOKEN: 'a\nb-secret' } },
      'runner_config.auth_config.token holds a character',
    ],
    [{ base: '${BASE}', variables: { BASE: 'http://10.0.0.1/secret-path' } }, 'cannot be reached'],
  ])('%j', (change: Change, says) => {
    let message = ''
    try {
      serviceOf(change)
    } catch (error) {
      const { faults = [] } = error as { faults?: { message: string }[] }
      message = [String(error), ...faults.map((fault) => fault.message)].join('\n')
    }
    expect(message).toContain(says)
    expect(message).not.toMatch(/secret/)
  })
})
