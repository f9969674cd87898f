import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'

export interface SeenRequest {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: string
  /** Which connection it came by. */
  connection: number
}

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
)

/** A real HTTP server on the loopback address, with an answer for whatever a runner must cope with. */
export class HttpTarget {
  readonly seen: SeenRequest[] = []
  readonly #server: Server
  readonly #sockets = new Map<Socket, number>()
  #connections = 0

  constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy())
    })
    this.#server.on('connection', (socket) => {
      this.#sockets.set(socket, ++this.#connections)
      socket.on('error', () => {}).once('close', () => this.#sockets.delete(socket))
    })
  }

  async start(host = '127.0.0.1'): Promise<void> {
    this.#server.listen(0, host)
    await once(this.#server, 'listening')
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get origin(): string {
    return `http://127.0.0.1:${this.port}`
  }

  /** Connections that are open now, and how many there have been. */
  get connections(): { open: number; ever: number } {
    return { open: this.#sockets.size, ever: this.#connections }
  }

  async stop(): Promise<void> {
    this.#server.close()
    for (const socket of this.#sockets.keys()) socket.destroy()
    await once(this.#server, 'close')
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat((await request.toArray()) as Buffer[]).toString('utf8')
    const { method = '', url = '/', headers } = request
    const seen = { method, url, headers, body, connection: this.#sockets.get(request.socket) ?? 0 }
    this.seen.push(seen)
    const { pathname, searchParams } = new URL(url, 'http://target')
    const [, page = '', argument = ''] = pathname.split('/')
    const json = (text: string, status = 200, more: Record<string, string> = {}) =>
      response.writeHead(status, { 'content-type': 'application/json', ...more }).end(text)
    switch (page) {
      case 'json':
        return void json('{"answer": 42, "exact": 12345678901234567890.10}')
      case 'echo':
        return void json(JSON.stringify({ method, url, headers, body }))
      case 'status':
        return void json(`{"status": ${argument}}`, Number(argument), retryAfterOf(searchParams))
      case 'flaky': {
        const before = this.seen.filter((each) => each.url === url).length
        const fails = before <= Number(argument)
        return void json('{"ok": true}', fails ? 503 : 200, fails ? retryAfterOf(searchParams) : {})
      }
      case 'redirect':
        return void response.writeHead(Number(argument), { location: searchParams.get('to') ?? '/' }).end()
      case 'session':
        return void json('{}', 200, {
          'set-cookie': 'sid=s3ssion',
          'www-authenticate': 'Bearer realm="x"',
          'x-page': '2',
        })
      case 'slow':
        response.writeHead(200, { 'content-type': 'text/plain' }).write('first')
        return sleep(60_000)
      case 'silent':
        return sleep(60_000)
      case 'flood':
        return flood(response, searchParams.get('length'))
      case 'bomb':
        return bomb(response)
      case 'bytes': {
        const type = searchParams.get('type') ?? 'application/octet-stream'
        return void response.writeHead(200, { 'content-type': type }).end(Buffer.alloc(Number(argument), 0xff))
      }
      case 'picture':
        return void response.writeHead(200, { 'content-type': 'image/png' }).end(PNG)
      case 'false-picture':
        return void response.writeHead(200, { 'content-type': 'image/png' }).end('<html><script>')
      case 'zipped':
        return void response
          .writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' })
          .end(gzipSync('{"zipped": true}'))
      case 'broken-zip':
        return void response.writeHead(200, { 'content-encoding': 'gzip' }).end('this is no gzip')
      case 'cut':
        response.writeHead(200, { 'content-length': '1000' }).write('only this')
        await sleep(20)
        return void response.destroy()
      case 'garbage':
        return void request.socket.end('HTTP/9.9 what is this\r\n\r\n')
      default:
        return void json('{"error": "not found"}', 404)
    }
  }
}

function retryAfterOf(parameters: URLSearchParams): Record<string, string> {
  const value = parameters.get('retry-after')
  return value === null ? {} : { 'retry-after': value }
}

/** Writes the same bytes until the other side hangs up. */
function writeForEver(response: ServerResponse, chunk: Buffer): Promise<void> {
  const forEver = function* () {
    for (;;) yield chunk
  }
  return pipeline(Readable.from(forEver()), response)
}

function flood(response: ServerResponse, length: string | null): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/plain', ...(length === null ? {} : { 'content-length': length }) })
  return writeForEver(response, Buffer.alloc(65_536, 'x'))
}

/** Little on the line, much when it is decoded. */
function bomb(response: ServerResponse): Promise<void> {
  response.writeHead(200, { 'content-type': 'text/plain', 'content-encoding': 'gzip' })
  return writeForEver(response, gzipSync(Buffer.alloc(16 * 1_048_576)))
}
