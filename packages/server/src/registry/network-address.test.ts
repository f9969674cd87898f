import { expect, it } from 'vitest'
import { findUplinkProblem } from './network-address.ts'

it.each(['10.0.0.0/8', '10.1.2.3/32', '169.254.169.254/32', '172.16.0.0/12', '1.1.1.1/32', '192.0.0.0/24'])(
  'an uplink may lead to %s',
  (network) => {
    expect(findUplinkProblem(network)).toBeNull()
  },
)

it.each([
  ['0.0.0.0/0', 'overlaps with 0.0.0.0/8'],
  ['127.0.0.1/32', 'overlaps with 127.0.0.0/8'],
  ['126.0.0.0/7', 'overlaps with 127.0.0.0/8'],
  ['224.0.0.1/32', 'overlaps with 224.0.0.0/3'],
  ['255.255.255.255/32', 'overlaps with 224.0.0.0/3'],
  ['192.0.2.128/25', 'overlaps with 192.0.2.0/24'],
  ['10.0.0.1/8', 'the network is 10.0.0.0/8'],
  ['fd00::/8', 'must be an IPv4 network'],
])('no uplink leads to %s: %s', (network, says) => {
  expect(findUplinkProblem(network)).toContain(says)
})
