import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import ssh2 from 'ssh2'

/** Has a user of its own in /etc/passwd, seen by nothing but the server: of the group that an engine's socket has, and not root. */
const SERVE = `
set -eu
mount --bind "$1" /etc/passwd
exec dropbear -i -e -s -m -r "$2"
`
const USER = 'operator'

/** Debian's dropbear on the loopback address, one process for each connection, with keys that nobody else has. */
export class TestSshServer {
  readonly folder = mkdtempSync(path.join(tmpdir(), 'ergon-ssh-'))
  readonly privateKey: string
  /** What the far side's programs find in their environment. */
  readonly env: Record<string, string> = { PATH: '/usr/sbin:/usr/bin:/bin' }
  connections = 0
  readonly #hostKey: string
  readonly #server = createServer({ pauseOnConnect: true }, (socket) => this.#serve(socket))
  readonly #children = new Set<ChildProcess>()

  constructor() {
    chmodSync(this.folder, 0o755)
    const home = path.join(this.folder, 'home')
    mkdirSync(path.join(home, '.ssh'), { recursive: true, mode: 0o755 })
    const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync('ed25519')
    this.privateKey = privateKey
    writeFileSync(path.join(home, '.ssh/authorized_keys'), `${publicKey}\n`, { mode: 0o644 })
    writeFileSync(path.join(this.folder, 'passwd'), `root:x:0:0::/root:/bin/sh\n${USER}:x:64321:0::${home}:/bin/sh\n`, {
      mode: 0o644,
    })
    const told = execFileSync('dropbearkey', ['-t', 'ed25519', '-f', path.join(this.folder, 'host-key')], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#hostKey = /^ssh-ed25519 \S+/m.exec(told)?.[0] ?? ''
  }

  async start(): Promise<void> {
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get port(): number {
    const address = this.#server.address()
    return address === null || typeof address === 'string' ? 0 : address.port
  }

  get url(): string {
    return `ssh://${USER}@127.0.0.1:${this.port}`
  }

  get knownHosts(): string {
    return `[127.0.0.1]:${this.port} ${this.#hostKey}\n`
  }

  async stop(): Promise<void> {
    this.#server.close()
    const running = [...this.#children].filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)
    const ended = running.map((child) => once(child, 'exit'))
    for (const child of running) child.kill('SIGKILL')
    await Promise.all(ended)
    rmSync(this.folder, { recursive: true, force: true })
  }

  #serve(socket: Socket): void {
    this.connections++
    const words = [SERVE, 'serve', path.join(this.folder, 'passwd'), path.join(this.folder, 'host-key')]
    const child = spawn('unshare', ['--mount', '--propagation', 'private', '--', 'sh', '-c', ...words], {
      env: this.env,
      stdio: [socket, socket, 'inherit'],
    })
    this.#children.add(child)
    // Ours is one descriptor too many: the child has the connection.
    socket.destroy()
  }
}
