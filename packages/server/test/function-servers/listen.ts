import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'

/** A server on a free port of 127.0.0.1. */
export async function listen(handle: (...parameters: Parameters<RequestListener>) => unknown): Promise<LocalServer> {
  const server: Server = createServer((request, response) => {
    Promise.resolve(handle(request, response)).catch(() => response.destroy())
  })
  let active = 0
  server.on('request', (_request, response) => {
    active++
    response.once('close', () => active--)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    activeRequests: () => active,
    async stop() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

export interface LocalServer {
  port: number
  url: string
  /** Requests whose answer has neither ended nor been given up. */
  activeRequests(): number
  stop(): Promise<void>
}
