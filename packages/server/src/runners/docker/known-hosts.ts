import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { ServerHostKeyAlgorithm } from 'ssh2'

/** A public key as SSH sends it; its type is its first part. */
export interface HostKey {
  type: string
  blob: Buffer
}

const DEFAULT_PORT = 22
/** What a server may sign with, by the type of its key; SHA-1 is not among them. */
const ALGORITHMS: Readonly<Record<string, readonly ServerHostKeyAlgorithm[]>> = {
  'ssh-ed25519': ['ssh-ed25519'],
  'ecdsa-sha2-nistp256': ['ecdsa-sha2-nistp256'],
  'ecdsa-sha2-nistp384': ['ecdsa-sha2-nistp384'],
  'ecdsa-sha2-nistp521': ['ecdsa-sha2-nistp521'],
  'ssh-rsa': ['rsa-sha2-512', 'rsa-sha2-256'],
}

/**
 * The keys that a known_hosts file (sshd(8)) trusts a host with: plain, hashed and wildcard lines. A key that is revoked
 * is none, nor is an authority: what it certifies is not looked at.
 */
export function findHostKeys(knownHosts: string, host: string, port: number): HostKey[] {
  const name = port === DEFAULT_PORT ? host.toLowerCase() : `[${host.toLowerCase()}]:${port}`
  const trusted: HostKey[] = []
  const revoked: Buffer[] = []
  for (const line of knownHosts.split(/\r?\n/)) {
    const words = line.trim().split(/[ \t]+/)
    if (words[0] === '' || words[0]?.startsWith('#')) continue
    const marker = words[0]?.startsWith('@') ? words.shift() : null
    const [patterns = '', type = '', base64 = ''] = words
    if (!isMeant(patterns, name)) continue
    const blob = Buffer.from(base64, 'base64')
    if (marker === '@revoked') revoked.push(blob)
    else if (marker === null && Object.hasOwn(ALGORITHMS, type) && blob.length > 0) trusted.push({ type, blob })
  }
  return trusted.filter(({ blob }) => !revoked.some((each) => isSame(each, blob)))
}

/** How a server may prove itself so that one of these keys can be recognised. */
export function algorithmsOf(keys: readonly HostKey[]): ServerHostKeyAlgorithm[] {
  return [...new Set(keys.flatMap(({ type }) => ALGORITHMS[type] ?? []))]
}

export function isTrusted(keys: readonly HostKey[], offered: Buffer): boolean {
  return keys.some(({ blob }) => isSame(blob, offered))
}

/** As `ssh-keygen -l` writes it. */
export function fingerprintOf(key: Buffer): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`
}

function isSame(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

/** A name among others with commas between them; one that is excluded counts before all that match. */
function isMeant(patterns: string, name: string): boolean {
  if (patterns.startsWith('|')) return isHashOf(patterns, name)
  const all = patterns.toLowerCase().split(',')
  if (all.some((pattern) => pattern.startsWith('!') && matches(pattern.slice(1), name))) return false
  return all.some((pattern) => matches(pattern, name))
}

function isHashOf(hashed: string, name: string): boolean {
  const [, version, salt = '', hash = ''] = hashed.split('|')
  const own = createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest()
  return version === '1' && isSame(own, Buffer.from(hash, 'base64'))
}

/** `*` and `?` as in a shell; step by step, so that no pattern takes long. */
function matches(pattern: string, name: string): boolean {
  let [at, star, after] = [0, -1, 0]
  for (let index = 0; index < name.length; ) {
    if (pattern[at] === '*') [star, after] = [at++, index]
    else if (pattern[at] === '?' || pattern[at] === name[index]) [at, index] = [at + 1, index + 1]
    else if (star === -1) return false
    else [at, index] = [star + 1, ++after]
  }
  return /^\**$/.test(pattern.slice(at))
}
