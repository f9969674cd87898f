import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'

/** The system's resolver has few threads, which the file system needs too: slow name servers get no more than these. */
const MAX_LOOKUPS = 2
const MAX_ADDRESSES = 16

export type LookUp = (hostname: string) => Promise<readonly string[]>

/** As every program of the machine resolves names, /etc/hosts included. */
const systemLookUp: LookUp = async (hostname) =>
  (await lookup(hostname, { all: true, order: 'verbatim' })).map(({ address }) => address)

/** Asks for the addresses of hosts: two names at a time, and each only once at a time. Remembers nothing. */
export class HostResolver {
  readonly #lookUp: LookUp
  readonly #running = new Map<string, Promise<readonly string[]>>()
  readonly #waiting: (() => void)[] = []
  #free = MAX_LOOKUPS

  constructor(lookUp: LookUp = systemLookUp) {
    this.#lookUp = lookUp
  }

  /** The addresses in the order to try them; never none. Rejects as the look-up does. */
  resolve(hostname: string): Promise<readonly string[]> {
    const bare = hostname.replace(/^\[(.*)\]$/, '$1')
    if (isIP(bare) !== 0) return Promise.resolve([bare])
    const running = this.#running.get(bare)
    if (running !== undefined) return running
    const started = this.#ask(bare).finally(() => this.#running.delete(bare))
    this.#running.set(bare, started)
    return started
  }

  async #ask(hostname: string): Promise<readonly string[]> {
    if (this.#free > 0) this.#free--
    else await new Promise<void>((resolve) => this.#waiting.push(resolve))
    try {
      const addresses = await this.#lookUp(hostname)
      if (addresses.length > 0) return addresses.slice(0, MAX_ADDRESSES)
      throw Object.assign(new Error(`${hostname} has no address`), { code: 'ENOTFOUND' })
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#free++
      else next()
    }
  }
}
