import { Agent, type ClientRequest } from 'node:http'
import { type Duplex, PassThrough } from 'node:stream'
import { SshConnection, type SshTarget } from './ssh-connection.ts'

/** OpenSSH serves ten channels of a connection unless it is told otherwise (MaxSessions); two are left for others. */
const CHANNELS_EACH = 8
const IDLE_MS = 3_000
/** What Node asks of sockets and a channel has not: its connection sees to it. */
const nothing = () => {}
const SOCKET_ONLY = { setKeepAlive: nothing, setNoDelay: nothing, setTimeout: nothing, ref: nothing, unref: nothing }

/**
 * Carries requests to an engine over SSH, each in a channel of its own in which the far side runs
 * `docker system dial-stdio`, as Docker's own command line has it. Channels share connections and are used again.
 */
export class SshAgent extends Agent {
  readonly #target: SshTarget
  readonly #connections = new Set<SshConnection>()
  readonly #busy = new Set<Duplex>()
  #idle: NodeJS.Timeout | undefined
  #opening = 0
  #lastWords = ''

  constructor(target: SshTarget) {
    super({ keepAlive: true, maxFreeSockets: Number.POSITIVE_INFINITY })
    this.#target = target
  }

  /** What the far side last said on standard error: why there is no engine, if there is none. */
  get lastWords(): string {
    return this.#lastWords
  }

  override createConnection(_options: unknown, opened: (error: Error | null, stream: Duplex) => void): undefined {
    this.#open().then(
      (stream) => opened(null, stream),
      // Node looks at no stream beside an error.
      (error: Error) => opened(error, new PassThrough()),
    )
  }

  override keepSocketAlive(stream: Duplex): void {
    this.#rest(stream)
    // Node wants its answer, whatever the type says: without one the channel would be closed.
    return super.keepSocketAlive(stream)
  }

  override reuseSocket(stream: Duplex, request: ClientRequest): void {
    super.reuseSocket(stream, request)
    this.#use(stream)
  }

  override destroy(): void {
    clearTimeout(this.#idle)
    super.destroy()
    for (const connection of this.#connections) connection.end()
    this.#connections.clear()
  }

  async #open(): Promise<Duplex> {
    this.#lastWords = ''
    this.#opening++
    const channel = await this.#openChannel().finally(() => this.#opening--)
    Object.assign(channel, SOCKET_ONLY)
    this.#use(channel)
    channel.once('close', () => this.#rest(channel))
    return channel
  }

  async #openChannel(): Promise<Duplex> {
    const connection = this.#connectionWithRoom() ?? this.#connect()
    try {
      return await connection.openChannel(this.#listen)
    } catch (error) {
      this.#connections.delete(connection)
      connection.retire()
      if (!connection.isReady) throw error
      // Signed in, but no more channels: it has ended meanwhile, or its host allows fewer of them.
      return this.#connect().openChannel(this.#listen)
    }
  }

  readonly #listen = (text: string): void => {
    this.#lastWords = text
  }

  #connectionWithRoom(): SshConnection | undefined {
    return [...this.#connections].find(({ channels }) => channels < CHANNELS_EACH)
  }

  #connect(): SshConnection {
    const connection = new SshConnection(this.#target)
    this.#connections.add(connection)
    return connection
  }

  #use(stream: Duplex): void {
    clearTimeout(this.#idle)
    this.#busy.add(stream)
  }

  /** Without requests for a while, nothing is left at the far side. */
  #rest(stream: Duplex): void {
    this.#busy.delete(stream)
    clearTimeout(this.#idle)
    this.#idle = setTimeout(() => {
      if (this.#busy.size === 0 && this.#opening === 0) this.destroy()
    }, IDLE_MS)
  }
}
