import { describe, expect, it } from 'vitest'
import { findRefusal, isLoopback, type OpenRequest } from './find-refusal.ts'

const good: OpenRequest = {
  peer: '127.0.0.1',
  port: 4680,
  host: 'localhost:4680',
  origin: undefined,
  proxyHeaders: [],
}
const rules = { hosts: [], origins: ['https://app.example.org'] }
const refusal = (change: Partial<OpenRequest>, hosts: readonly string[] = []) =>
  findRefusal({ ...good, ...change }, { ...rules, hosts })

describe('findRefusal', () => {
  it.each(['127.0.0.1', '127.8.9.10', '::1', '::ffff:127.0.0.1'])('takes the peer %s', (peer) => {
    expect(refusal({ peer })).toBeNull()
  })

  it.each([undefined, '', '10.0.0.1', '::ffff:10.0.0.1', '::', 'fe80::1', '128.0.0.1', '0.0.0.0', 'localhost'])(
    'refuses the peer %s',
    (peer) => {
      expect(refusal({ peer })).toBe('it comes from another machine')
      expect(isLoopback(peer)).toBe(false)
    },
  )

  it.each(['localhost:4680', 'LOCALHOST:4680', '127.0.0.1:4680', '[::1]:4680'])('takes the Host %s', (host) => {
    expect(refusal({ host })).toBeNull()
  })

  it.each([
    undefined,
    '',
    'localhost',
    'localhost:4681',
    'evil.test:4680',
    'localhost.evil.test:4680',
    'localhost:4680:4680',
    'x@localhost:4680',
    'localhost:4680/',
    ' localhost:4680',
    '127.0.0.2:4680',
    '::1:4680',
  ])('refuses the Host %j', (host) => {
    expect(refusal({ host })).toContain('none of this machine’s names')
  })

  it('knows the port that a Host leaves out', () => {
    expect(refusal({ host: 'localhost', port: 80 })).toBeNull()
  })

  it('takes names that are listed, with their port or any', () => {
    expect(refusal({ host: 'ergon.test:4680' }, ['ergon.test'])).toBeNull()
    expect(refusal({ host: 'ergon.test' }, ['Ergon.test'])).toBeNull()
    expect(refusal({ host: 'ergon.test:4680' }, ['ergon.test:4680'])).toBeNull()
    expect(refusal({ host: 'ergon.test:81' }, ['ergon.test:4680'])).not.toBeNull()
    expect(refusal({ host: 'a.ergon.test' }, ['ergon.test'])).not.toBeNull()
  })

  it.each(['null', '', 'https://app.example.org.evil.test', 'https://APP.example.org', 'http://localhost:4680', '*'])(
    'refuses the origin %j',
    (origin) => {
      expect(refusal({ origin })).toContain('may not call')
    },
  )

  it('takes a listed origin, and nothing that came through a proxy', () => {
    expect(refusal({ origin: 'https://app.example.org' })).toBeNull()
    expect(refusal({ proxyHeaders: ['via'] })).toBe('it came through a proxy (via)')
  })
})
