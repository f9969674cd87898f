import ssh2 from 'ssh2'
import type { EngineConfig } from './engine-config.ts'
import { findHostKeys } from './known-hosts.ts'
import { sshPlaceOf } from './ssh-place.ts'

/** What keeps a key and a known_hosts file from being used for an engine, told before anything connects; null for nothing. */
export function findSshProblem(
  url: string,
  { privateKey, knownHosts }: NonNullable<EngineConfig['ssh']>,
): { of: 'key' | 'known hosts'; what: string } | null {
  // A file may hold several keys, and the first is the one that is used.
  const [key] = [ssh2.utils.parseKey(privateKey)].flat()
  // The library's words are about the format; none of them holds a part of the key.
  if (key instanceof Error) return { of: 'key', what: `is not a private key that can be used: ${key.message}` }
  if (key?.isPrivateKey() !== true) return { of: 'key', what: 'is not a private key' }
  const { host, port } = sshPlaceOf(url)
  if (findHostKeys(knownHosts, host, port).length > 0) return null
  return {
    of: 'known hosts',
    what: `has no key of ${host} port ${port} that can be used: add the line that the host's administrator gives you`,
  }
}
