import type { Duplex } from 'node:stream'
import ssh2, { type ClientChannel } from 'ssh2'
import { algorithmsOf, fingerprintOf, findHostKeys, isTrusted } from './known-hosts.ts'

const READY_TIMEOUT_MS = 20_000
const KEEP_ALIVE_MS = 15_000
/** What Docker's own command line runs at the far side: its standard streams are a connection to the engine there. */
const COMMAND = 'docker system dial-stdio'
const MAX_WORDS = 1_000

/** Where to sign in, as whom, and what the host must prove to be. */
export interface SshTarget {
  host: string
  port: number
  username: string
  privateKey: string
  knownHosts: string
}

/** There is no way to the engine; as sockets' errors do, it has a code. */
class SshError extends Error {
  readonly code = 'ESSH'

  constructor(message: string) {
    super(message)
    this.name = 'SshError'
  }
}

/** One connection to one host, whose key is known beforehand or there is none. */
export class SshConnection {
  readonly #client = new ssh2.Client()
  readonly #ready: Promise<void>
  #channels = 0
  #isReady = false
  #isRetired = false

  constructor(target: SshTarget) {
    this.#ready = this.#connect(target)
    this.#ready.then(
      () => (this.#isReady = true),
      () => {},
    )
  }

  /** Open ones, and those about to be. */
  get channels(): number {
    return this.#channels
  }

  get isReady(): boolean {
    return this.#isReady
  }

  /** A channel to the engine; `onWords` gets what the far side's command says on standard error. */
  async openChannel(onWords: (text: string) => void): Promise<Duplex> {
    this.#channels++
    try {
      await this.#ready
      const channel = await this.#execute()
      channel.once('close', () => this.#release())
      // Unread, it would stop the channel.
      channel.stderr.on('data', (bytes: Buffer) => onWords(bytes.toString('utf8').slice(0, MAX_WORDS).trim()))
      return channel
    } catch (error) {
      this.#release()
      throw error instanceof SshError ? error : new SshError(error instanceof Error ? error.message : String(error))
    }
  }

  /** Ends with its last channel. */
  retire(): void {
    this.#isRetired = true
    if (this.#channels === 0) this.#client.end()
  }

  end(): void {
    this.#client.end()
  }

  #release(): void {
    this.#channels--
    if (this.#isRetired && this.#channels === 0) this.#client.end()
  }

  #connect({ host, port, username, privateKey, knownHosts }: SshTarget): Promise<void> {
    const keys = findHostKeys(knownHosts, host, port)
    let refused: string | null = null
    return new Promise((resolve, reject) => {
      const fail = (error: Error) => reject(new SshError(refused ?? error.message))
      this.#client.once('ready', resolve)
      // Each error, also those after the first: one that nobody listens to ends the process.
      this.#client.on('error', fail)
      this.#client.on('close', () => fail(new Error('the connection was closed')))
      if (keys.length === 0) {
        fail(new Error(`no key of ${host} port ${port} is in the known_hosts file`))
        return
      }
      this.#client.connect({
        ...{ host, port, username, privateKey },
        authHandler: ['publickey'],
        algorithms: { serverHostKey: algorithmsOf(keys) },
        hostVerifier: (offered: Buffer) => {
          if (isTrusted(keys, offered)) return true
          refused = `the host is not who the known_hosts file says: its key is ${fingerprintOf(offered)}`
          return false
        },
        readyTimeout: READY_TIMEOUT_MS,
        keepaliveInterval: KEEP_ALIVE_MS,
      })
    })
  }

  #execute(): Promise<ClientChannel> {
    return new Promise((resolve, reject) => {
      this.#client.exec(COMMAND, (error, channel) => (error === undefined ? resolve(channel) : reject(error)))
    })
  }
}
