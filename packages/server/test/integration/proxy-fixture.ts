import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { request } from 'node:https'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { findFreePort } from '../../src/testing/find-free-port.ts'

/** The name that the examples of docs/api.md serve. */
export const PROXIED_NAME = 'ergon.example.org'
const DOCS = fileURLToPath(new URL('../../../../docs/api.md', import.meta.url))
const START_MS = 20_000

interface ProxyKind {
  /** The language of its code block in docs/api.md. */
  block: string
  /** The example with another address, another upstream and the certificate of the test, and what stands around it in a configuration. */
  configure(example: string, at: { port: number; upstream: number; folder: string }): string
  command(file: string): [string, ...string[]]
}

export const PROXIES = {
  nginx: {
    block: 'nginx',
    configure: (example, { port, upstream, folder }) => `
      daemon off;
      worker_processes 1;
      ${process.getuid?.() === 0 ? 'user root;' : ''}
      pid ${folder}/nginx.pid;
      error_log stderr;
      events {}
      http {
        access_log off;
        client_body_temp_path ${folder}/body;
        proxy_temp_path ${folder}/proxy;
        fastcgi_temp_path ${folder}/fastcgi;
        uwsgi_temp_path ${folder}/uwsgi;
        scgi_temp_path ${folder}/scgi;
        ${replaced(example, {
          '  listen 443 ': `  listen 127.0.0.1:${port} `,
          '/etc/ssl/ergon.pem': `${folder}/cert.pem`,
          '/etc/ssl/ergon.key': `${folder}/key.pem`,
          'http://127.0.0.1:4680': `http://127.0.0.1:${upstream}`,
        })}
      }`,
    command: (file) => ['nginx', '-e', 'stderr', '-c', file],
  },
  caddy: {
    block: 'caddy',
    configure: (example, { port, upstream, folder }) => `{
        admin off
        auto_https off
      }
      ${replaced(example, {
        [`${PROXIED_NAME} {`]: `https://${PROXIED_NAME}:${port} {\nbind 127.0.0.1\ntls ${folder}/cert.pem ${folder}/key.pem`,
        'reverse_proxy 127.0.0.1:4680': `reverse_proxy 127.0.0.1:${upstream}`,
      })}`,
    command: (file) => ['caddy', 'run', '--adapter', 'caddyfile', '--config', file],
  },
} as const satisfies Record<string, ProxyKind>

interface Asked {
  headers?: OutgoingHttpHeaders
  /** `announced`: none is sent, and the request stays open. */
  body?: Buffer | string
  from?: string
}

/** A proxy with the configuration that docs/api.md shows, on 127.0.0.1, before an API on a port of its own. */
export class Proxy {
  readonly port: number
  readonly certificate: string
  readonly #folder: string
  readonly #process: ChildProcess

  private constructor(port: number, folder: string, process: ChildProcess) {
    this.port = port
    this.certificate = readFileSync(path.join(folder, 'cert.pem'), 'utf8')
    this.#folder = folder
    this.#process = process
  }

  static async start({ block, configure, command }: ProxyKind, upstream: number): Promise<Proxy> {
    const folder = mkdtempSync(path.join(tmpdir(), 'ergon-proxy-'))
    makeCertificate(folder)
    const port = await findFreePort()
    const file = path.join(folder, 'configuration')
    writeFileSync(file, configure(exampleOf(block), { port, upstream, folder }))
    const [program, ...words] = command(file)
    const child = spawn(program, words, {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: `${process.env['PATH']}:/usr/sbin`, HOME: folder },
    })
    const proxy = new Proxy(port, folder, child)
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => (said = `${said}${chunk.toString()}`.slice(-10_000)))
    const failed = new Promise<never>((_, reject) => {
      child.once('error', reject)
      child.once('exit', (code) => reject(new Error(`${program} ended with ${code}: ${said}`)))
    })
    failed.catch(() => {})
    try {
      await Promise.race([failed, untilConnected(port)])
    } catch (error) {
      await proxy.stop()
      throw error
    }
    return proxy
  }

  /** An answer, its body not read yet. The proxy sees `from` as the client's address. */
  open(
    method: string,
    url: string,
    { headers = {}, body = '', from = '127.0.0.1' }: Asked = {},
  ): Promise<IncomingMessage> {
    return new Promise((resolve, reject) => {
      const sent = request(
        {
          host: '127.0.0.1',
          port: this.port,
          servername: PROXIED_NAME,
          ca: this.certificate,
          method,
          path: url,
          headers: { host: PROXIED_NAME, ...headers },
          localAddress: from,
          agent: false,
        },
        resolve,
      ).on('error', reject)
      if (body === 'announced') sent.flushHeaders()
      else sent.end(body)
    })
  }

  async fetch(...asked: Parameters<Proxy['open']>) {
    const answer = await this.open(...asked)
    const body = await text(answer)
    // A request whose body is still to come would keep its connection.
    answer.socket.destroy()
    return { status: answer.statusCode, headers: answer.headers, body }
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode === null && this.#process.kill()) await once(this.#process, 'exit')
    rmSync(this.#folder, { recursive: true })
  }
}

/** The code block of a language. */
function exampleOf(language: string): string {
  const [, example] = new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'ms').exec(readFileSync(DOCS, 'utf8')) ?? []
  if (example === undefined) throw new Error(`docs/api.md has no code block of ${language}`)
  return example
}

/** Each text stands in the example once, so that nothing else of it is changed. */
function replaced(example: string, changes: Record<string, string>): string {
  return Object.entries(changes).reduce((changed, [from, to]) => {
    if (changed.split(from).length !== 2) throw new Error(`the example must have ${JSON.stringify(from)} once`)
    return changed.replace(from, () => to)
  }, example)
}

function makeCertificate(folder: string): void {
  const names = ['-subj', `/CN=${PROXIED_NAME}`, '-addext', `subjectAltName=DNS:${PROXIED_NAME}`]
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  const files = ['-keyout', 'key.pem', '-out', 'cert.pem']
  execFileSync('openssl', ['req', '-x509', ...key, ...names, ...files], { cwd: folder, stdio: 'pipe' })
}

async function untilConnected(port: number): Promise<void> {
  for (const until = performance.now() + START_MS; performance.now() < until; await sleep(20)) {
    const socket = connect(port, '127.0.0.1')
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false)
    socket.destroy()
    if (isOpen) return
  }
  throw new Error(`nothing listens on port ${port} after ${START_MS} ms`)
}
