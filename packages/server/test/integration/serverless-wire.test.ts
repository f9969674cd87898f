import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listen, type LocalServer } from '../function-servers/listen.ts'
import { callerOf, failureOf, messageOf } from './serverless-fixture.ts'

/** Answers as AWS documents them, where the local Lambda has none of the kind. */
let answer: (request: IncomingMessage, response: ServerResponse) => void = () => {}
let asked: IncomingMessage[] = []
let server: LocalServer
beforeAll(async () => {
  server = await listen((request, response) => {
    asked.push(request)
    request.resume()
    answer(request, response)
  })
})
afterAll(() => server.stop())

function call(next: typeof answer, { more = '' } = {}) {
  answer = next
  asked = []
  return callerOf({
    runnerConfig: `{provider: aws, region: eu-central-1, function_name: f, endpoint: "${server.url}", auth: {type: access_key, access_key_id_env_var: ID, secret_access_key_env_var: KEY}${more}}`,
    variables: { ID: 'AKIA1', KEY: 'the-secret-key' },
  })({ input: { payload: {} }, timeoutSeconds: 5 })
}

const REPORT =
  'REPORT RequestId: 8f5\tDuration: 5.13 ms\tBilled Duration: 1000 ms\tMemory Size: 1024 MB\tMax Memory Used: 71 MB\t\n'

describe('an answer of Lambda', () => {
  it('tells the version that ran, what it logged, and what was billed', async () => {
    const called = await call((_request, response) => {
      response.setHeader('x-amz-executed-version', '7')
      response.setHeader('x-amz-log-result', Buffer.from(`one\n\u001b[31mtwo\n${REPORT}`).toString('base64'))
      response.end('{"n": 12345678901234567890}')
    })
    expect(called.outcome.composeOutput({ stdout: '', stderr: '', artifacts: [] })).toBe(
      '{"payload":{"n": 12345678901234567890},"status_code":200,"executed_version":"7"}',
    )
    expect(called.outcome.logs.map(({ message }) => message)).toEqual(['one', '␛[31mtwo', REPORT.trimEnd()])
    expect(called.outcome.resourceUsage).toMatchObject({
      billed_ms: 1_000,
      peak_memory_mb: 71,
      cost_estimate_usd: 0.0000168667,
    })
    expect(asked[0]?.headers['x-amz-log-type']).toBe('Tail')
  })

  it('is of the qualifier that the service names', async () => {
    await call((_request, response) => response.end('1'), { more: ', qualifier: live' })
    expect(asked[0]?.url).toBe('/2015-03-31/functions/f/invocations?Qualifier=live')
  })

  it.each([
    [429, 'TooManyRequestsException', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
    [500, 'ServiceException', 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
    [502, 'EC2ThrottledException', 'DEPENDENCY_ERROR/UPSTREAM_THROTTLED'],
    [403, 'AccessDeniedException', 'USER_CODE_ERROR/HTTP_STATUS'],
    [413, 'RequestTooLargeException', 'USER_CODE_ERROR/HTTP_STATUS'],
  ])('%i %s is %s, and was asked for once', async (status, name, failure) => {
    const called = await call((_request, response) => {
      response.writeHead(status, { 'x-amzn-errortype': name, 'content-type': 'application/json' })
      response.end('{"Message":"Rate Exceeded."}')
    })
    expect(failureOf(called)).toBe(failure)
    expect(messageOf(called)).toContain(`AWS Lambda answered ${status} (${name}`)
    expect(called.outcome.resourceUsage?.cost_estimate_usd).toBeUndefined()
    expect(asked).toHaveLength(1)
  })

  it.each([
    ['a page of a proxy', 503, '<html>Service Unavailable</html>', 'DEPENDENCY_ERROR/UPSTREAM_STATUS'],
    ['a redirect', 302, '', 'USER_CODE_ERROR/HTTP_STATUS'],
    ['no JSON', 200, '{', 'USER_CODE_ERROR/RESULT_NOT_JSON'],
    ['no text', 200, Buffer.from([0xff]), 'USER_CODE_ERROR/RESULT_NOT_TEXT'],
    ['a NUL character', 200, '"\\u0000"', 'USER_CODE_ERROR/RESULT_NOT_STORABLE'],
    ['too deep', 200, '['.repeat(100_000) + ']'.repeat(100_000), 'USER_CODE_ERROR/RESULT_TOO_DEEP'],
  ])('that is %s', async (_what, status, body, failure) => {
    const called = await call((_request, response) => {
      response.writeHead(status, { location: 'http://169.254.169.254/' }).end(body)
    })
    expect(failureOf(called)).toBe(failure)
    expect(asked).toHaveLength(1)
  })

  it('that breaks off is tried again', async () => {
    const gone = await call((request) => request.socket.destroy())
    expect(failureOf(gone)).toBe('DEPENDENCY_ERROR/UPSTREAM_CONNECTION')
    const half = await call((_request, response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{"half":')
      setTimeout(() => response.destroy(), 50)
    })
    expect(failureOf(half)).toBe('DEPENDENCY_ERROR/UPSTREAM_CONNECTION')
  })

  it('that trickles ends with the time of the job', async () => {
    const called = await call(
      (_request, response) => {
        response.write('"')
        const timer = setInterval(() => response.write('x'), 20)
        response.once('close', () => clearInterval(timer))
      },
      { more: ', timeout: 0.5' },
    )
    expect(failureOf(called)).toBe('RESOURCE_LIMIT/WALL_TIME')
    await expect.poll(() => server.activeRequests()).toBe(0)
  })
})
