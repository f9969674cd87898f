import dns from 'node:dns'
import http from 'node:http'
import https from 'node:https'
import type { BlockList, LookupFunction } from 'node:net'
import { isPrivateAddress, isWithin, networksOf } from '../../registry/network-address.ts'

declare module 'node:http' {
  interface Agent {
    /** What Node calls for each request that an agent is to find a connection for; its types leave it out. */
    addRequest(request: http.ClientRequest, ...more: unknown[]): void
  }
}

/** A name led to an address that the policy does not allow; the address was not connected to. */
class AddressDenied extends Error {
  readonly code = 'ADDRESS_DENIED'
}

export interface GuardedAgents {
  http: http.Agent
  https: https.Agent
}

const MAX_SOCKETS = 50

/**
 * Agents whose connections go to public addresses and the policy's networks. The address is checked as it is connected
 * to, so a name that resolves to another one at the second look-up gains nothing. Addresses written as such are checked
 * where the configuration is, since no look-up sees them. No variable of the process names a proxy to them.
 */
export function createGuardedAgents(allowedNetworks: readonly string[]): GuardedAgents {
  const networks = networksOf(allowedNetworks)
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS, lookup: guardedLookup(networks) }
  return { http: refusingUpgrades(new http.Agent(options)), https: refusingUpgrades(new https.Agent(options)) }
}

/** A server that switches protocols, which nobody asked it to. */
class UpgradeRefused extends Error {
  readonly code = 'UNEXPECTED_UPGRADE'
}

/**
 * Node ends the connection of an answer 101 that nobody listens for and tells the request nothing, so whoever waits for
 * it would wait for ever: libraries above included, to whom it is an error of the connection like any other.
 */
function refusingUpgrades<Agent extends http.Agent>(agent: Agent): Agent {
  const add = agent.addRequest.bind(agent)
  agent.addRequest = (request, ...more) => {
    request.once('upgrade', (_response, socket) => {
      socket.destroy()
      request.emit('error', new UpgradeRefused('it answered 101 (switching protocols), which was not asked for'))
    })
    add(request, ...more)
  }
  return agent
}

function guardedLookup(networks: BlockList): LookupFunction {
  return (hostname, options, callback) => {
    dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, [])
      // All or nothing: whoever mixes addresses in an answer must not have the choice of which one is used.
      const refused = addresses.find(({ address }) => isPrivateAddress(address) && !isWithin(address, networks))
      if (refused !== undefined) {
        const text = `${hostname} is ${refused.address}, a private address that allowed_networks does not name`
        return callback(new AddressDenied(text), [])
      }
      const [first] = addresses
      if (options.all === true) return callback(null, addresses)
      if (first === undefined) return callback(new Error(`${hostname} has no address`), [])
      return callback(null, first.address, first.family)
    })
  }
}
