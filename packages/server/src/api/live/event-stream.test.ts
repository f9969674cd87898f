import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { expect, it } from 'vitest'
import { EventStream } from './event-stream.ts'

it('is over from its beginning when the client went while its answer was prepared', async () => {
  const answering = Promise.withResolvers<ServerResponse>()
  const server = createServer((_request, response) => answering.resolve(response)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n')
  const response = await answering.promise
  client.destroy()
  await once(response, 'close')
  const stream = new EventStream(response, { heartbeatMs: 1_000, writeTimeoutMs: 1_000 })
  let closed = 0
  stream.onClose(() => closed++)
  expect(await stream.send({ type: 'status', id: '1', data: {} })).toBe(false)
  expect({ closed, isOver: stream.isOver }).toEqual({ closed: 1, isOver: true })
  server.close()
})
