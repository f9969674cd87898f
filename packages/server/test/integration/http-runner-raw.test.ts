import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { call, useTargets } from './http-runner-fixture.ts'

useTargets()

const OK = 'HTTP/1.1 200 OK\r\n'
let answer: { text: string; isClosed: boolean }
let server: Server
const sockets = new Set<Socket>()

beforeAll(async () => {
  server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).once('close', () => sockets.delete(socket))
    socket.on('data', () => (answer.isClosed ? socket.end(answer.text, 'latin1') : socket.write(answer.text, 'latin1')))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
})

afterAll(() => {
  for (const socket of sockets) socket.destroy()
  server.close()
})

/** What becomes of bytes that no library would write as an answer. */
function callFor(text: string, isClosed = false) {
  answer = { text, isClosed }
  return call({ path: 'a', method: 'POST' }, { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}` })
}

it.each(['gzip', 'deflate', 'br'])('an answer without a body may say that it is in %s', async (encoding) => {
  const header = `Content-Encoding: ${encoding}\r\n`
  for (const text of [
    `HTTP/1.1 204 No Content\r\n${header}\r\n`,
    `HTTP/1.1 304 Not Modified\r\n${header}\r\n`,
    `${OK}${header}Content-Length: 0\r\n\r\n`,
    `${OK}${header}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
  ])
    expect(await callFor(text)).toMatchObject({ kind: 'succeeded', output: { body: null } })
})

it.each(['gzip', 'deflate', 'br'])('a body in %s that never came is no empty one', async (encoding) => {
  const text = `${OK}Content-Encoding: ${encoding}\r\nContent-Length: 10\r\n\r\n`
  expect(await callFor(text, true)).toMatchObject({ code: 'UPSTREAM_CONNECTION' })
  expect(await callFor(`${text}\u001f`, true)).toMatchObject({ category: 'DEPENDENCY_ERROR' })
})

it.each(['000', '099'])('status %s is a fault of the server, not of the worker', async (status) => {
  const answered = await callFor(`HTTP/1.1 ${status} X\r\nContent-Length: 2\r\n\r\nhi`)
  expect(answered).toMatchObject({ category: 'DEPENDENCY_ERROR', code: 'UPSTREAM_PROTOCOL' })
})
