import { BlockList, isIP } from 'node:net'

/** Everything that is not the public internet: what a request must not reach unless a policy names the network. */
const PRIVATE_RANGES = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
  ['::', 128],
  ['::1', 128],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['100::', 64],
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const

const privateNetworks = networksOf(PRIVATE_RANGES.map(([address, prefix]) => `${address}/${prefix}`))

/** True when none but a policy that names its network may reach the address; IPv4 within IPv6 counts as the IPv4 address. */
export function isPrivateAddress(address: string): boolean {
  return isWithin(address, privateNetworks)
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

/** Whether a policy's networks hold an address. */
export function isWithin(address: string, networks: BlockList): boolean {
  return networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}

/** The address that a URL's host is by itself, without asking anybody: a literal in any spelling, or localhost. */
export function literalAddress(host: string): string | null {
  // The URL parser has turned 0x7f.1 and 2130706433 into 127.0.0.1 already.
  const bare = host.startsWith('[') ? host.slice(1, -1) : host.replace(/\.$/, '')
  if (isIP(bare) !== 0) return bare
  return bare === 'localhost' || bare.endsWith('.localhost') ? '127.0.0.1' : null
}
