import { execFileSync } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { expect, it } from 'vitest'
import { algorithmsOf, findHostKeys, fingerprintOf, isTrusted } from './known-hosts.ts'

const KEY = 'AAAAC3NzaC1lZDI1NTE5AAAAIK0wmN/Cr3JXqmLW7u+g9pTh+wyqDHpSQEIQczXkVx9q'
const OTHER = 'AAAAC3NzaC1lZDI1NTE5AAAAIJ6Fcg/w6tTnPUFBRyd0iPHb1EuKRUYtz1mGwg1rdXwc'
const blob = Buffer.from(KEY, 'base64')

function hashed(name: string): string {
  const salt = Buffer.from('0123456789abcdefghij')
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`
}

it.each([
  ['its name', 'engine.example', 22],
  ['its name, in capitals', 'Engine.Example', 22],
  ['one of several', 'other,engine.example', 22],
  ['a wildcard', '*.example', 22],
  ['a name with another port', '[engine.example]:2222', 2222],
  ['a hashed name', hashed('engine.example'), 22],
  ['a hashed name with a port', hashed('[engine.example]:2222'), 2222],
])('a host is known by %s', (_name, patterns, port) => {
  const keys = findHostKeys(`# ours\n\n${patterns} ssh-ed25519 ${KEY} a comment\r\n`, 'engine.example', port)
  expect(isTrusted(keys, blob)).toBe(true)
  expect(isTrusted(keys, Buffer.from(OTHER, 'base64'))).toBe(false)
})

it.each([
  ['another name', `engine2.example ssh-ed25519 ${KEY}`],
  ['another port', `[engine.example]:2222 ssh-ed25519 ${KEY}`],
  ['a longer name', `engine.example.org ssh-ed25519 ${KEY}`],
  ['a name that is excluded', `*.example,!engine.example ssh-ed25519 ${KEY}`],
  ['another hash', `${hashed('engine2.example')} ssh-ed25519 ${KEY}`],
  ['a key that is revoked', `engine.example ssh-ed25519 ${KEY}\n@revoked * ssh-ed25519 ${KEY}`],
  ['an authority', `@cert-authority * ssh-ed25519 ${KEY}`],
  ['a kind of key that signs with SHA-1', `engine.example ssh-dss ${KEY}`],
  ['a property of every object', `engine.example constructor ${KEY}`],
  ['a line without a key', 'engine.example ssh-ed25519'],
  ['an empty file', ''],
])('a host is not known by %s', (_name, text) => {
  expect(findHostKeys(text, 'engine.example', 22)).toEqual([])
})

it('asks a server for the kinds of key that are known, RSA without SHA-1', () => {
  const keys = findHostKeys(`a ssh-rsa ${KEY}\na ssh-ed25519 ${OTHER}\na ssh-ed25519 ${KEY}`, 'a', 22)
  expect(algorithmsOf(keys)).toEqual(['rsa-sha2-512', 'rsa-sha2-256', 'ssh-ed25519'])
})

it('a pattern of many stars takes no time', () => {
  expect(findHostKeys(`${'*a'.repeat(5_000)} ssh-ed25519 ${KEY}`, 'a'.repeat(4_000), 22)).toEqual([])
})

it('writes a fingerprint as OpenSSH does', () => {
  const told = execFileSync('openssl', ['dgst', '-sha256', '-binary'], { input: blob }).toString('base64')
  expect(fingerprintOf(blob)).toBe(`SHA256:${told.replace('=', '')}`)
})
