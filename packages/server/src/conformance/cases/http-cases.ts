import { all, leftNothing } from '../checks.ts'
import type { Check, HostileCase } from '../hostile-case.ts'

/** Places that no request may reach, written in the ways that have fooled such checks. */
const ADDRESSES = {
  'the metadata address of clouds': 'http://169.254.169.254/latest/meta-data/',
  'the metadata address as one decimal number': 'http://2852039166/',
  'loopback in its short form': 'http://127.2/',
  'private range 10': 'http://10.0.0.1/',
  'loopback in IPv6': 'http://[::1]/',
  'loopback mapped into IPv6': 'http://[::ffff:127.0.0.2]/',
  'a private address in IPv6 by NAT64': 'http://[64:ff9b::a00:1]/',
  'a link-local address': 'http://[fe80::1]/',
  'the metadata address in IPv6': 'http://[fd00:ec2::254]/',
} as const

/** One of each kind; the tests of the runner redirect to all of them. */
const REDIRECTED = [
  'the metadata address of clouds',
  'loopback in its short form',
  'loopback mapped into IPv6',
] as const

const gotNothing: Check = ({ outputs: { result_json: result } }) =>
  result === null ? null : `it has ${JSON.stringify(result).slice(0, 200)}`

function call(service: string, name: string, input: Record<string, unknown>, code: string): HostileCase {
  return {
    row: 48,
    name,
    call: { service, operation: 'call', executionType: 'http', input },
    verdicts: [`SANDBOX_VIOLATION/${code}`],
    counter: 'denied_destinations',
    check: all(leftNothing, gotNothing),
  }
}

/** Row 48: what the caller of an http service, or a server that it talks to, may try. */
export const HTTP_CASES: readonly HostileCase[] = [
  ...Object.entries(ADDRESSES).map(([name, url]) => call('hostile-address', name, { endpoint: url }, 'ADDRESS_DENIED')),
  ...REDIRECTED.map((name) =>
    call('hostile-address', `a redirect to ${name}`, { query: { to: ADDRESSES[name] } }, 'ADDRESS_DENIED'),
  ),
  call('hostile-name', 'another host than those allowed', { endpoint: 'https://example.org/' }, 'DOMAIN_DENIED'),
  call('hostile-name', 'a redirect to another host', { query: { to: 'https://example.org/' } }, 'DOMAIN_DENIED'),
  call('hostile-name', 'a redirect to another port', { query: { to: 'http://127.0.0.1:1/' } }, 'DOMAIN_DENIED'),
  call('hostile-name', 'a file', { endpoint: 'file:///etc/passwd' }, 'DOMAIN_DENIED'),
]
