import type { Socket } from 'node:net'
import { callbackify } from 'node:util'
import { buildConnector } from 'undici'
import { isPrivateAddress } from '../../registry/network-address.ts'
import { type DestinationPolicy, requireAllowedAddress } from './destination.ts'
import type { HostResolver } from './host-resolver.ts'

export interface GuardOptions {
  policy: DestinationPolicy
  resolver: HostResolver
  connectTimeoutMs: number
}

/** A time-out of ours, which says of what. */
export class ConnectTimeout extends Error {}

/**
 * Connects to a host's addresses, each checked at the moment it is connected to: the address that was judged is the one
 * that is used, so that a name that answers differently the second time changes nothing.
 */
export class GuardedConnector {
  readonly #options: GuardOptions
  readonly #connect: buildConnector.connector
  /** Live connections to private addresses, by origin and address. */
  readonly #private = new Map<string, Map<string, number>>()

  constructor(options: GuardOptions) {
    this.#options = options
    this.#connect = buildConnector({ timeout: options.connectTimeoutMs, allowH2: false })
  }

  /** What undici's Agent calls for each new connection. */
  readonly connector: buildConnector.connector = (options, callback) =>
    this.#openThen(options, (error: Error | null, socket) =>
      error === null ? callback(null, socket) : callback(error, null),
    )
  readonly #openThen = callbackify((options: buildConnector.Options) => this.#open(options))

  /** The private addresses that an origin's connections lead to at this moment. */
  privateAddressesOf(origin: string): string[] {
    return [...(this.#private.get(origin)?.keys() ?? [])]
  }

  async #open(options: buildConnector.Options): Promise<Socket> {
    const deadline = performance.now() + this.#options.connectTimeoutMs
    const addresses = await this.#resolve(options.hostname)
    let failure: Error = this.#timeout(options.hostname)
    for (const address of this.#allowed(addresses, options.hostname)) {
      if (performance.now() >= deadline) break
      try {
        const socket = await this.#connectTo(address, options, deadline)
        this.#watch(socket, options, address)
        return socket
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error))
      }
    }
    throw failure
  }

  async #resolve(hostname: string): Promise<readonly string[]> {
    const timeout = Promise.withResolvers<never>()
    const givenUp = new AbortController()
    const timer = setTimeout(() => timeout.reject(this.#timeout(hostname)), this.#options.connectTimeoutMs)
    try {
      return await Promise.race([this.#options.resolver.resolve(hostname, givenUp.signal), timeout.promise])
    } finally {
      clearTimeout(timer)
      givenUp.abort()
    }
  }

  /** A name with one address outside is refused as a whole: whoever mixes them in wants one of them tried. */
  #allowed(addresses: readonly string[], hostname: string): readonly string[] {
    for (const address of addresses) requireAllowedAddress(address, hostname, this.#options.policy.networks)
    return addresses
  }

  #connectTo(address: string, options: buildConnector.Options, deadline: number): Promise<Socket> {
    return new Promise((resolve, reject) => {
      let isOver = false
      const timer = setTimeout(
        () => {
          isOver = true
          reject(this.#timeout(options.hostname))
        },
        Math.max(1, deadline - performance.now()),
      )
      this.#connect({ ...options, hostname: address }, (error, socket) => {
        clearTimeout(timer)
        if (isOver) socket?.destroy()
        else if (error !== null) reject(error)
        else resolve(socket)
      })
    })
  }

  /** Once more, from the kernel this time: where the connection leads. */
  #watch(socket: Socket, { protocol, host = '' }: buildConnector.Options, address: string): void {
    const remote = socket.remoteAddress ?? address
    try {
      requireAllowedAddress(remote, address, this.#options.policy.networks)
    } catch (error) {
      socket.destroy()
      throw error
    }
    if (!isPrivateAddress(remote)) return
    const origin = new URL(`${protocol}//${host}`).origin
    const counts = this.#private.get(origin) ?? new Map<string, number>()
    this.#private.set(origin, counts)
    counts.set(remote, (counts.get(remote) ?? 0) + 1)
    socket.once('close', () => {
      const left = (counts.get(remote) ?? 1) - 1
      if (left > 0) counts.set(remote, left)
      else counts.delete(remote)
    })
  }

  #timeout(hostname: string): ConnectTimeout {
    return new ConnectTimeout(`no connection to ${hostname} within ${this.#options.connectTimeoutMs} ms`)
  }
}
