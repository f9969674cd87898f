import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A server on the loopback address that sends whoever asks for `/?to=URL` there: what a hostile service would do. */
export class RedirectingServer {
  readonly #server = createServer((request, response) => {
    const location = new URL(request.url ?? '/', 'http://redirecting').searchParams.get('to')
    if (location === null) response.end('nowhere')
    else response.writeHead(302, { location }).end()
  })

  /** Gives the server's origin. */
  async start(): Promise<string> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}
