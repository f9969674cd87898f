import { describe, expect, it, test } from 'vitest'
import {
  findUplinkProblem,
  isPrivateAddress,
  isWithin,
  literalAddress,
  matchesDomain,
  networksOf,
} from './network-address.ts'

describe('isPrivateAddress', () => {
  it.each([
    ...[
      '0.0.0.0',
      '10.1.2.3',
      '100.64.0.1',
      '127.0.0.1',
      '127.255.255.254',
      '168.63.129.16',
      '169.254.169.254',
      '172.16.0.1',
    ],
    ...['172.31.255.255', '192.0.0.1', '192.168.0.1', '198.18.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'],
    ...['::', '::1', '::127.0.0.1', '::ffff:127.0.0.1', '::ffff:169.254.169.254', '::ffff:7f00:1', '64:ff9b::7f00:1'],
    ...['64:ff9b:1::1', '100::1', '2001::1', '2001:db8::1', '2002:7f00:1::', '3fff::1', 'fc00::1', 'fd00:ec2::254'],
    ...['fe80::1', 'fe80::1%eth0', 'fec0::1', 'ff02::1', '5f00::1', 'not an address', ''],
  ])('%s', (address) => {
    expect(isPrivateAddress(address)).toBe(true)
  })

  it.each(['8.8.8.8', '1.1.1.1', '172.15.0.1', '172.32.0.1', '100.128.0.1', '2606:4700:4700::1111', '2a00:1450::1'])(
    'not %s',
    (address) => {
      expect(isPrivateAddress(address)).toBe(false)
    },
  )
})

test.each([
  ['127.0.0.1', '127.0.0.0/8', true],
  ['::ffff:127.0.0.1', '127.0.0.0/8', true],
  ['10.0.0.1', '127.0.0.0/8', false],
  ['fe80::1%lo', 'fe80::/10', true],
  ['::1', '::1/128', true],
  ['127.0.0.1', '::1/128', false],
])('%s within %s: %s', (address, network, expected) => {
  expect(isWithin(address, networksOf([network]))).toBe(expected)
})

test.each([
  ['api.example.org', 'api.example.org', true],
  ['API.example.org.', 'api.EXAMPLE.org', true],
  ['api.example.org', '*.example.org', true],
  ['a.b.example.org', '*.example.org', true],
  ['example.org', '*.example.org', false],
  ['evilexample.org', '*.example.org', false],
  ['example.org.evil.net', '*.example.org', false],
  ['api.example.org', 'example.org', false],
  ['[::1]', '::1', true],
  ['anything', '*', true],
])('%s matches %s: %s', (host, pattern, expected) => {
  expect(matchesDomain(host, pattern)).toBe(expected)
})

test.each([
  ['http://2130706433/', '127.0.0.1'],
  ['http://0x7f.1/', '127.0.0.1'],
  ['http://0177.0.0.1/', '127.0.0.1'],
  ['http://127.1/', '127.0.0.1'],
  ['http://0/', '0.0.0.0'],
  ['http://[::ffff:127.0.0.1]/', '::ffff:7f00:1'],
  ['http://１２７.0.0.1/', '127.0.0.1'],
  ['http://localhost./', '127.0.0.1'],
  ['http://a.localhost/', '127.0.0.1'],
  ['http://example.org/', null],
])('the host of %s is %s by itself', (url, address) => {
  expect(literalAddress(new URL(url).hostname)).toBe(address)
})

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
