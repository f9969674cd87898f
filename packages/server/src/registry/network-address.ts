import { BlockList, isIP } from 'node:net'

/** Everything that is not the public internet: what a request must not reach unless a policy names the network. */
const PRIVATE_IPV4 = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  // Where Azure's machines talk to their host.
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const
/** Of IPv6 only 2000::/3 is given out: loopback, every way to write an IPv4 address, local and group addresses lie outside. */
const PRIVATE_IPV6 = [
  ['::', 3],
  ['4000::', 2],
  ['8000::', 1],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const

// Apart, since a list holds an IPv4 address by its form in IPv6 too.
const privateIpv4 = networksOf(PRIVATE_IPV4.map(([address, prefix]) => `${address}/${prefix}`))
const privateIpv6 = networksOf(PRIVATE_IPV6.map(([address, prefix]) => `${address}/${prefix}`))

/** True when none but a policy that names its network may reach the address; so is what is no address at all. */
export function isPrivateAddress(address: string): boolean {
  const version = isIP(address)
  return version === 0 || isWithin(address, version === 4 ? privateIpv4 : privateIpv6)
}

/** The networks of a policy, as ADDRESS/PREFIX each. */
export function networksOf(ranges: readonly string[]): BlockList {
  const list = new BlockList()
  for (const range of ranges) {
    const [address = '', prefix = ''] = range.split('/')
    list.addSubnet(address, Number(prefix), isIP(address) === 6 ? 'ipv6' : 'ipv4')
  }
  return list
}

/** What no policy opens: the host itself, everybody on a link at once, and the addresses of the uplink itself. */
const NEVER_UPLINKED = ['0.0.0.0/8', '127.0.0.0/8', '224.0.0.0/3', '192.0.2.0/24'] as const

/** Why the uplink of a sandbox cannot lead to a network, or null; sandboxd/PROTOCOL.md has the same rules. */
export function findUplinkProblem(network: string): string | null {
  const [address = '', prefix = ''] = network.split('/')
  if (isIP(address) !== 4) return 'must be an IPv4 network: the uplink of a sandbox carries no IPv6'
  const [first, size] = [toNumber(address), 2 ** (32 - Number(prefix))]
  if (first % size !== 0)
    return `has bits beyond its prefix: the network is ${toText(first - (first % size))}/${prefix}`
  for (const never of NEVER_UPLINKED) {
    const [start = '', length = ''] = never.split('/')
    const [low, count] = [toNumber(start), 2 ** (32 - Number(length))]
    if (first < low + count && low < first + size) return `overlaps with ${never}, to which no uplink leads`
  }
  return null
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0)
}

function toText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join('.')
}

/** Whether a policy's networks hold an address; IPv4 mapped into IPv6 is held by the IPv4 network too. */
export function isWithin(address: string, networks: BlockList): boolean {
  // A zone (fe80::1%eth0) says by which device, not where.
  const bare = address.split('%', 1)[0] ?? ''
  return networks.check(bare, isIP(bare) === 6 ? 'ipv6' : 'ipv4')
}

/** `*.example.org` is every name below example.org, and not that name itself; `*` is every name. Case and a last dot do not count. */
export function matchesDomain(host: string, pattern: string): boolean {
  if (pattern === '*') return true
  const [name, wanted] = [plainHost(host), plainHost(pattern)]
  return wanted.startsWith('*.') ? name.endsWith(wanted.slice(1)) : name === wanted
}

/** Whether two names are one host to a resolver: case and a last dot do not count. */
export function isSameHost(host: string, other: string): boolean {
  return host === other || plainHost(host) === plainHost(other)
}

function plainHost(host: string): string {
  return host
    .toLowerCase()
    .replace(/^\[(.*)\]$/, '$1')
    .replace(/\.$/, '')
}

/** The address that a URL's host is by itself, without asking anybody: a literal in any spelling, or localhost. */
export function literalAddress(host: string): string | null {
  // The URL parser has turned 0x7f.1 and 2130706433 into 127.0.0.1 already.
  const bare = host.startsWith('[') ? host.slice(1, -1) : host.replace(/\.$/, '')
  if (isIP(bare) !== 0) return bare
  return bare === 'localhost' || bare.endsWith('.localhost') ? '127.0.0.1' : null
}
