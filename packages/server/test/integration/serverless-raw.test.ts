import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { callerOf, failureOf, messageOf } from './serverless-fixture.ts'

/** What becomes of bytes that no library would write as an answer. */
let answer = ''
let server: Server
const sockets = new Set<Socket>()
beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
    socket.on('data', () => socket.write(answer, 'latin1'))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})
afterAll(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

const PROVIDERS = {
  aws: (url: string) => ({
    runnerConfig: `{provider: aws, region: eu-central-1, function_name: f, endpoint: "${url}", auth: {type: access_key, access_key_id_env_var: ID, secret_access_key_env_var: KEY}}`,
    variables: { ID: 'AKIA1', KEY: 'the-secret-key' },
  }),
  gcp: (url: string) => ({
    runnerConfig: `{provider: gcp, project: my-project, function_name: f, endpoint: "${url}", auth: {type: none}}`,
  }),
}

describe.each(['aws', 'gcp'] as const)('of %s', (provider) => {
  it.each([
    ['101', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n'],
    ['101 that names no protocol', 'HTTP/1.1 101 X\r\nContent-Length: 2\r\n\r\n{}'],
    ['000', 'HTTP/1.1 000 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'],
    ['099', 'HTTP/1.1 099 X\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}'],
  ])('an answer %s is a fault of the provider, at once', async (_status, text) => {
    answer = text
    const { port } = server.address() as AddressInfo
    const call = callerOf(PROVIDERS[provider](`http://127.0.0.1:${port}`))
    // Were it waited for, the job would end by its own time.
    const called = await call({ input: { payload: {} }, timeoutSeconds: 20 })
    expect([failureOf(called), messageOf(called)]).toEqual([
      'DEPENDENCY_ERROR/UPSTREAM_PROTOCOL',
      expect.stringMatching(/(no status of an answer|switching protocols)/),
    ])
    expect(called.outcome.resourceUsage?.cost_estimate_usd).toBeUndefined()
  })
})
