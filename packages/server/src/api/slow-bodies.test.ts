import { type AddressInfo, connect } from 'node:net'
import { fastify } from 'fastify'
import type { ZodTypeProvider } from 'fastify-type-provider-zod'
import { beforeAll, expect, it } from 'vitest'
import { cutSlowBodies } from './slow-bodies.ts'

const SOON = 50
const NEVER = 600_000
let ports: { impatient: number; lingering: number }

/** Answers `/refused` before it reads, everything else once the body is there. */
async function listen(times: { bodyMs: number; lingerMs: number }) {
  const app = fastify().withTypeProvider<ZodTypeProvider>()
  cutSlowBodies(app, times)
  app.addHook('onRequest', async (request, reply) => {
    if (request.url === '/refused') await reply.code(401).send('who are you?')
  })
  app.post('/refused', () => 'unreachable')
  app.post('/patient', { config: { bodyTimeMs: NEVER } }, () => 'at last')
  app.post('/', () => 'at last')
  await app.listen({ host: '127.0.0.1', port: 0 })
  return { app, port: (app.server.address() as AddressInfo).port }
}

beforeAll(async () => {
  const impatient = await listen({ bodyMs: SOON, lingerMs: NEVER })
  const lingering = await listen({ bodyMs: NEVER, lingerMs: SOON })
  ports = { impatient: impatient.port, lingering: lingering.port }
  return async () => {
    for (const { app } of [impatient, lingering]) {
      app.server.closeAllConnections()
      await app.close()
    }
  }
})

/** What comes until the other side hangs up, or `enough` has come. */
function send(port: number, path: string, length: number, body: string, enough = 'nothing'): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = ''
    const socket = connect(port, '127.0.0.1', () =>
      socket.write(
        `POST ${path} HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: ${length}\r\n\r\n${body}`,
      ),
    )
    socket.on('data', (chunk: Buffer) => {
      answer += chunk.toString('utf8')
      if (!answer.includes(enough)) return
      resolve(answer)
      socket.destroy()
    })
    socket.on('close', () => resolve(answer))
    socket.on('error', reject)
  })
}

it('cuts a body that does not come, with 408', async () => {
  expect(await send(ports.impatient, '/', 10, 'half')).toMatch(/^HTTP\/1\.1 408 /)
})

it('takes one that comes', async () => {
  expect(await send(ports.impatient, '/', 4, 'here', 'at last')).toMatch(/^HTTP\/1\.1 200 /)
})

it('lets who was refused read the answer, and then hangs up on it', async () => {
  expect(await send(ports.lingering, '/refused', 1_000_000, 'and so on')).toMatch(/^HTTP\/1\.1 401 [^]*who are you\?$/)
})

it('gives a route the time that it asks for', async () => {
  const slow = send(ports.impatient, '/patient', 10, 'half', 'at last')
  // Whoever was as slow and asked for less has been cut meanwhile.
  expect(await send(ports.impatient, '/', 10, 'half')).toMatch(/^HTTP\/1\.1 408 /)
  expect(await Promise.race([slow, send(ports.impatient, '/', 4, 'here', 'at last').then(() => 'still waiting')])).toBe(
    'still waiting',
  )
})
