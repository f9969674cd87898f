import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { startAws } from '../function-servers/aws.ts'
import { callerOf, failureOf, messageOf } from './serverless-fixture.ts'

let aws: Awaited<ReturnType<typeof startAws>>
let folder: string
beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'lambda-'))
  aws = await startAws()
})
afterAll(async () => {
  rmSync(folder, { recursive: true })
  await aws?.stop()
})

const KEY_NAMES = 'access_key_id_env_var: KEY_ID, secret_access_key_env_var: KEY'

interface Change {
  auth?: string
  more?: string
  policy?: string
  variables?: Record<string, string>
  secretFiles?: Record<string, string>
}

function lambda(name: string, { auth = `type: access_key, ${KEY_NAMES}`, more = '', ...rest }: Change = {}) {
  const { url, accessKeyId, secretAccessKey } = aws
  return callerOf({
    runnerConfig: `{provider: aws, region: eu-central-1, function_name: ${name}, endpoint: "${url}", auth: {${auth}}${more}}`,
    variables: { KEY_ID: accessKeyId, KEY: secretAccessKey },
    ...rest,
  })
}

describe('a Lambda function', () => {
  it('is called with the payload as it was written, and answers as it did', async () => {
    const called = await lambda('echo')({ input: '{"payload": {"n": 1152921504606846976, "é": "ü"}}' })
    expect(called.outcome.composeOutput({ stdout: '', stderr: '', artifacts: [] })).toContain('"é":"ü"')
    expect(called.output).toEqual({
      payload: {
        event: { n: 2 ** 60, é: 'ü' },
        custom: { ergon_job_id: 'a5a5a5a5-0000-4000-8000-000000000001' },
      },
      status_code: 200,
      // This server says none.
      executed_version: null,
    })
    expect(called.outcome.resourceUsage?.cost_estimate_usd).toBeGreaterThan(0.0000002)
  })

  it('fails as its own code did, with the type, the words and the place', async () => {
    const called = await lambda('fail')({ input: { payload: { words: 'no such file' } } })
    expect(failureOf(called)).toBe('USER_CODE_ERROR/FUNCTION_ERROR')
    expect(messageOf(called)).toBe('The function failed (Unhandled): Error: no such file')
    expect(called.output).toMatchObject({ status_code: 200, payload: { errorMessage: 'no such file' } })
  })

  it("fails as its own when the provider's clock ends it", async () => {
    const called = await lambda('impatient')({ input: { payload: {} } })
    expect(failureOf(called)).toBe('USER_CODE_ERROR/FUNCTION_ERROR')
    expect(messageOf(called)).toContain('Lambda timeout')
  })

  it('runs an event that nobody waits for', async () => {
    const file = path.join(folder, 'note')
    const called = await lambda('note')({ input: { payload: { file, words: 'was here' }, invocation_type: 'Event' } })
    expect(called.output).toEqual({ payload: null, status_code: 202, executed_version: null })
    expect(called.outcome.resourceUsage?.cost_estimate_usd).toBe(0.0000002)
    await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toBe('was here\n'), 10_000)
  })

  it('is waited for no longer than the job may take', async () => {
    const called = await lambda('slow')({ input: { payload: {} }, timeoutSeconds: 1 })
    expect(called.outcome.verdict).toMatchObject({
      failure: { category: 'RESOURCE_LIMIT', code: 'WALL_TIME', evidence: { counter: 'wall_ms', limit: 1_000 } },
    })
    expect(failureOf(await lambda('slow', { more: ', timeout: 0.2' })({ input: { payload: {} } }))).toBe(
      'RESOURCE_LIMIT/WALL_TIME',
    )
  })

  it('is let go as soon as the job is cancelled', async () => {
    const controller = new AbortController()
    const call = lambda('slow')({ input: { payload: {} }, signal: controller.signal })
    setTimeout(() => controller.abort(), 200)
    const startedMs = performance.now()
    expect(failureOf(await call)).toBe('cancelled')
    expect(performance.now() - startedMs).toBeLessThan(5_000)
  })

  it('answers no more than the service allows', async () => {
    expect(failureOf(await lambda('flood')({ input: { payload: {} } }))).toBe('RESOURCE_LIMIT/RESPONSE_SIZE')
    const policy = '{allowed_networks: ["127.0.0.1/32"], resource_limits: {max_output_kb: 1}}'
    const payload = 'x'.repeat(2_000)
    expect(failureOf(await lambda('echo', { policy })({ input: { payload } }))).toBe('RESOURCE_LIMIT/RESPONSE_SIZE')
  })

  it('does not exist, and that is final', async () => {
    const called = await lambda('nobody')({ input: {} })
    expect(failureOf(called)).toBe('USER_CODE_ERROR/HTTP_STATUS')
    expect(messageOf(called)).toContain('404')
  })

  it('takes no larger payload than the provider, and nothing is sent', async () => {
    const call = lambda('echo', { more: ', timeout: 20' })
    const event = await call({ input: { payload: 'x'.repeat(262_143), invocation_type: 'Event' } })
    expect(failureOf(event)).toBe('VALIDATION_ERROR/PAYLOAD_TOO_LARGE')
    expect(event.outcome.resourceUsage).toBeNull()
    expect(failureOf(await call({ input: { payload: 1, body: 2 } }))).toBe('VALIDATION_ERROR/INPUT_INVALID')
    expect(failureOf(await call({ input: { invocation_type: 'DryRun' } }))).toBe('VALIDATION_ERROR/INPUT_INVALID')
  })
})

describe('signing in to AWS', () => {
  it('uses the key that the service names, and no other', async () => {
    vi.stubEnv('AWS_ACCESS_KEY_ID', aws.accessKeyId)
    vi.stubEnv('AWS_SECRET_ACCESS_KEY', aws.secretAccessKey)
    try {
      const wrong = await lambda('echo', { variables: { KEY_ID: 'AKIAOTHER', KEY: 'not-the-secret' } })({ input: {} })
      expect(failureOf(wrong)).toBe('USER_CODE_ERROR/HTTP_STATUS')
      expect(messageOf(wrong)).toContain('UnrecognizedClientException')
      expect(failureOf(await lambda('echo', { auth: 'type: default_credentials' })({ input: {} }))).toBe('succeeded')
    } finally {
      vi.unstubAllEnvs()
    }
  })

  it('assumes a role with a key', async () => {
    const role = (name: string) =>
      `type: iam_role, role_arn: "arn:aws:iam::123456789012:role/${name}", sts_endpoint: "${aws.url}", ${KEY_NAMES}`
    const good = lambda('echo', { auth: role('caller') })
    const called = await good({ input: {} })
    expect(failureOf(called)).toBe('succeeded')
    const again = await good({ input: {} })
    expect(failureOf(again)).toBe('succeeded')
    // The caller's key, and of the role a key and a token, once for both calls; nothing that is recorded may show them.
    expect(called.secrets).toHaveLength(3)
    expect(again.secrets).toEqual(called.secrets)
    const refused = await lambda('echo', { auth: role('admin') })({ input: {} })
    expect(failureOf(refused)).toBe('USER_CODE_ERROR/HTTP_STATUS')
    expect(messageOf(refused)).toContain('the sign-in to AWS answered 403 (AccessDenied')
  })

  it('takes keys and roles from a profile of a file', async () => {
    const { url, accessKeyId, secretAccessKey } = aws
    const secretFiles = {
      '/etc/aws': `[base]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n[profile live]\nrole_arn = arn:aws:iam::123456789012:role/caller\nsource_profile = base\n`,
    }
    const auth = (profile: string) =>
      `type: profile, profile: ${profile}, credentials_file: /etc/aws, sts_endpoint: "${url}"`
    for (const profile of ['base', 'live']) {
      const called = await lambda('echo', { auth: auth(profile), secretFiles })({ input: {} })
      expect(failureOf(called)).toBe('succeeded')
      expect(called.secrets).toContain(secretAccessKey)
    }
    expect(() => lambda('echo', { auth: auth('other'), secretFiles })).toThrow("profile 'other' of /etc/aws does not")
  })

  it('tells what cannot be reached from what refuses', async () => {
    const closed = await callerOf({
      runnerConfig:
        '{provider: aws, region: eu-central-1, function_name: echo, endpoint: "http://127.0.0.1:1", auth: {type: access_key, access_key_id_env_var: A, secret_access_key_env_var: A}}',
      variables: { A: 'something' },
    })({ input: {} })
    expect(failureOf(closed)).toBe('DEPENDENCY_ERROR/UPSTREAM_CONNECTION')
  })
})
