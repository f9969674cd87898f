import { BlockList } from 'node:net'

/** What is known of a request without a token before its body is read. */
export interface OpenRequest {
  /** The other end of the socket: nothing that a header says. */
  peer: string | undefined
  /** The port that the socket came in at. */
  port: number | undefined
  host: string | undefined
  origin: string | undefined
  /** Names of headers that proxies add. */
  proxyHeaders: readonly string[]
}

export interface OpenRules {
  /** Names that the Host header may have, beside those of the loopback. */
  hosts: readonly string[]
  /** Origins of pages that may call. */
  origins: readonly string[]
}

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]']
const HTTP_PORT = 80
const HOST = /^(\[[0-9a-f:.]+\]|[0-9a-z._-]+)(?::(\d{1,5}))?$/

/**
 * Why a request without a token is not taken, or null. Whoever sits at this machine may run code in a sandbox; a page in
 * their browser may not, unless its origin is listed. A page that had its own name resolved to this machine shows by its
 * Host, and what a proxy passes on comes from somebody else, whatever the socket says.
 */
export function findRefusal(request: OpenRequest, { hosts, origins }: OpenRules): string | null {
  if (!isLoopback(request.peer)) return 'it comes from another machine'
  if (request.proxyHeaders.length > 0) return `it came through a proxy (${request.proxyHeaders.join(', ')})`
  if (!isKnownHost(request, hosts)) return `its Host ${quote(request.host)} is none of this machine’s names`
  if (request.origin !== undefined && !origins.includes(request.origin))
    return `pages of the origin ${quote(request.origin)} may not call`
  return null
}

/** Whether an address is one of this machine’s own loopback; also in the form that sockets of both families have. */
export function isLoopback(address: string | undefined): boolean {
  if (address === undefined) return false
  const plain = address.toLowerCase().replace(/^::ffff:(?=\d+\.)/, '')
  return LOOPBACK.check(plain, plain.includes(':') ? 'ipv6' : 'ipv4')
}

function isKnownHost({ host, port }: OpenRequest, hosts: readonly string[]): boolean {
  const [, name = '', stated] = HOST.exec(host?.toLowerCase() ?? '') ?? []
  if (name === '' || port === undefined) return false
  const asked = stated === undefined ? HTTP_PORT : Number(stated)
  if (LOOPBACK_NAMES.includes(name) && asked === port) return true
  return hosts.some((each) => {
    const [, known, knownPort] = HOST.exec(each.toLowerCase()) ?? []
    return known === name && (knownPort === undefined || Number(knownPort) === asked)
  })
}

function quote(header: string | undefined): string {
  return JSON.stringify((header ?? '').slice(0, 100))
}
