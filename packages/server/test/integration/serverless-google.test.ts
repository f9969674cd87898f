import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startGoogle } from '../function-servers/google.ts'
import { callerOf, failureOf, messageOf } from './serverless-fixture.ts'

let google: Awaited<ReturnType<typeof startGoogle>>
beforeAll(async () => (google = await startGoogle()))
afterAll(() => google?.stop())

function service({
  auth = 'type: service_account, service_account_key_env_var: KEY',
  path = '',
  key = '',
  policy = '',
} = {}) {
  const { url, key: accountKey } = google
  return callerOf({
    runnerConfig: `{provider: gcp, project: my-project, function_name: run, endpoint: "${url}${path}", auth: {${auth}}}`,
    variables: { KEY: key === '' ? accountKey : key },
    ...(policy === '' ? {} : { policy }),
  })
}

const open = (policy = '') => service({ auth: 'type: none', path: '/open', policy })

describe('a Google function', () => {
  it('is called with an ID token for it, and answers as it did', async () => {
    const call = service()
    const called = await call({ input: { payload: { do: 'echo', é: 'ü' } } })
    expect(called.output).toMatchObject({
      payload: {
        event: { do: 'echo', é: 'ü' },
        path: '/',
        headers: { 'idempotency-key': 'a5a5a5a5-0000-4000-8000-000000000001' },
      },
      status_code: 200,
      executed_version: null,
    })
    expect(called.outcome.resourceUsage?.cost_estimate_usd).toBeGreaterThan(0.0000004)
    // The token was seen by the function, so whoever records the answer must know it.
    expect(JSON.stringify(called.output)).toContain(called.secrets.at(-1))
    const again = await call({ input: { payload: { do: 'echo' } } })
    expect(again.secrets).toEqual(called.secrets)
  })

  it('is called without a token where anybody may', async () => {
    const called = await open()({ input: { payload: { do: 'echo' } } })
    expect(called.output).toMatchObject({ payload: { path: '/open' } })
    expect(JSON.stringify(called.output)).not.toContain('authorization')
    const refused = await service({ auth: 'type: none' })({ input: { payload: { do: 'echo' } } })
    expect(failureOf(refused)).toBe('USER_CODE_ERROR/HTTP_STATUS')
    expect(refused.output).toEqual({ payload: 'Unauthorized', status_code: 401, executed_version: null })
  })

  it('fails as its own code did', async () => {
    expect(failureOf(await open()({ input: { payload: { do: 'fail' } } }))).toBe('USER_CODE_ERROR/FUNCTION_ERROR')
  })

  it.each([
    [429, 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
    [500, 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
    [503, 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
    [404, 'USER_CODE_ERROR/HTTP_STATUS'],
    [204, 'succeeded'],
  ])('that answers %i is %s', async (status, failure) => {
    expect(failureOf(await open()({ input: { payload: { do: 'status', status } } }))).toBe(failure)
  })

  it('is not followed elsewhere', async () => {
    const headers = { location: 'http://169.254.169.254/latest' }
    const called = await open()({ input: { payload: { do: 'status', status: 302, headers } } })
    expect(failureOf(called)).toBe('USER_CODE_ERROR/HTTP_STATUS')
  })

  it('answers text, and nothing that is none', async () => {
    const text = await open()({ input: { payload: { do: 'status', status: 200, text: 'as it is' } } })
    expect(text.output).toMatchObject({ payload: 'as it is' })
    expect(failureOf(await open()({ input: { payload: { do: 'bytes' } } }))).toBe('USER_CODE_ERROR/RESULT_NOT_TEXT')
  })

  it('answers no more than the provider gives and the service allows', async () => {
    expect(failureOf(await open()({ input: { payload: { do: 'flood' } } }))).toBe('RESOURCE_LIMIT/RESPONSE_SIZE')
    const policy = '{allowed_networks: ["127.0.0.1/32"], resource_limits: {max_output_kb: 1}}'
    const payload = { do: 'status', status: 200, text: 'x'.repeat(2_000) }
    expect(failureOf(await open(policy)({ input: { payload } }))).toBe('RESOURCE_LIMIT/RESPONSE_SIZE')
  })

  it('is let go in time, and when the job is cancelled', async () => {
    const payload = { do: 'slow' }
    expect(failureOf(await open()({ input: { payload }, timeoutSeconds: 0.3 }))).toBe('RESOURCE_LIMIT/WALL_TIME')
    const signal = AbortSignal.timeout(200)
    expect(failureOf(await open()({ input: { payload }, signal }))).toBe('cancelled')
  })

  it('has no events that nobody waits for', async () => {
    const called = await open()({ input: { payload: {}, invocation_type: 'Event' } })
    expect(failureOf(called)).toBe('VALIDATION_ERROR/INPUT_INVALID')
  })
})

describe('signing in to Google', () => {
  it('refuses what is no key, when the registry is read, and repeats none of it', () => {
    expect(() => service({ key: '{"type": "service_account", "private_key": "s3cr3t"}' })).toThrow(
      'KEY is no key of a service account as JSON; wrong or missing: client_email, private_key',
    )
    expect(() => service({ key: 's3cr3t' })).toThrow(/^(?!.*s3cr3t)/)
    const elsewhere = { ...JSON.parse(google.key), token_uri: 'http://169.254.169.254/token' }
    expect(() => service({ key: JSON.stringify(elsewhere) })).toThrow('is a private address')
  })

  it('says that another key was refused, and nothing of the request', async () => {
    const { generateKeyPairSync } = await import('node:crypto')
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
    const key = {
      ...JSON.parse(google.key),
      private_key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    }
    const called = await service({ key: JSON.stringify(key) })({ input: { payload: { do: 'echo' } } })
    expect(failureOf(called)).toBe('USER_CODE_ERROR/HTTP_STATUS')
    expect(messageOf(called)).toBe('The sign-in to Google answered 400 (invalid_grant)')
  })

  it('is retried when nobody is there', async () => {
    const key = { ...JSON.parse(google.key), token_uri: 'http://127.0.0.1:1/token' }
    const called = await service({ key: JSON.stringify(key) })({ input: { payload: { do: 'echo' } } })
    expect(failureOf(called)).toBe('DEPENDENCY_ERROR/UPSTREAM_CONNECTION')
  })
})
