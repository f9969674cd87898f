import http from 'node:http'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createGuardedAgents } from './guarded-agents.ts'

let connections = 0
const server = http.createServer((_request, response) => response.end('here'))
server.on('connection', () => connections++)
let port = 0
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  port = typeof address === 'object' && address !== null ? address.port : 0
})
afterAll(() => void server.close())

function get(allowedNetworks: string[]): Promise<string> {
  const agents = createGuardedAgents(allowedNetworks)
  return new Promise((resolve, reject) => {
    const request = http.get({ host: 'localhost', port, family: 4, agent: agents.http }, (response) => {
      response.resume()
      resolve(String(response.statusCode))
    })
    request.once('error', reject)
  })
}

it('connects to no private address that a name leads to, unless the policy names it', async () => {
  await expect(get([])).rejects.toMatchObject({ code: 'ADDRESS_DENIED' })
  await expect(get(['10.0.0.0/8'])).rejects.toMatchObject({ code: 'ADDRESS_DENIED' })
  expect(connections).toBe(0)
  expect(await get(['127.0.0.0/8'])).toBe('200')
  expect(connections).toBe(1)
})
