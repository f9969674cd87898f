import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import ssh2 from 'ssh2'
import { afterAll, describe, expect, it } from 'vitest'
import { readSettings } from '../config/load-settings.ts'
import { readEngineAccess } from './engine-access.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'ergon-access-'))
afterAll(() => rmSync(folder, { recursive: true }))

function file(name: string, text: string, mode = 0o600): string {
  const place = path.join(folder, name)
  writeFileSync(place, text)
  chmodSync(place, mode)
  return place
}

const { private: privateKey, public: publicKey } = ssh2.utils.generateKeyPairSync('ed25519')
const locked = ssh2.utils.generateKeyPairSync('ed25519', { passphrase: 'x', cipher: 'aes256-cbc', rounds: 1 }).private
const key = file('key', privateKey)
const known = file('known_hosts', `[engine.example]:2222 ${publicKey}\n`)

function access(env: Record<string, string>) {
  return readEngineAccess(readSettings({ ERGON_CACHE: '/var/cache/ergon', ...env }).settings)
}

describe('an engine at ssh://', () => {
  const variables = (url: string, keyFile: string, knownHosts: string) => ({
    ERGON_DOCKER_HOST: url,
    ERGON_DOCKER_SSH_KEY_FILE: keyFile,
    ERGON_DOCKER_SSH_KNOWN_HOSTS: knownHosts,
  })
  const url = 'ssh://me@engine.example:2222'

  it('is reached with the key and the known hosts that the settings name, which no container may see', async () => {
    expect(await access(variables(url, key, known))).toEqual({
      engine: {
        url,
        tls: null,
        ssh: { privateKey, knownHosts: `[engine.example]:2222 ${publicKey}\n` },
        hiddenPaths: ['/var/cache/ergon', key, known],
      },
      socketGroup: null,
    })
  })

  it.each([
    ['no key', variables(url, '', known), 'set ERGON_DOCKER_SSH_KEY_FILE'],
    ['no known hosts', variables(url, key, ''), 'ERGON_DOCKER_SSH_KNOWN_HOSTS to a known_hosts file'],
    ['a key that is not there', variables(url, path.join(folder, 'none'), known), 'ERGON_DOCKER_SSH_KEY_FILE: ENOENT'],
    ['a key that others can read', variables(url, file('open', privateKey, 0o640), known), 'open to others'],
    ['a public key', variables(url, file('public', publicKey), known), 'is not a private key'],
    ['a key with a passphrase', variables(url, file('locked', locked), known), 'no passphrase'],
    ['no key at all', variables(url, file('text', 'hello'), known), 'is not a private key that can be used'],
    [
      'a host that is not known',
      variables('ssh://me@engine.example', key, known),
      'has no key of engine.example port 22',
    ],
    ['nobody to sign in as', variables('ssh://engine.example', key, known), 'expected unix:///PATH'],
    ['a password', variables('ssh://me:secret@engine.example', key, known), 'none of them with a password'],
    ['a path', variables('ssh://me@engine.example/run/docker.sock', key, known), 'or a path'],
  ])('is refused with %s', async (_name, env, says) => {
    const told = await (async () => access(env))().then(
      () => 'accepted',
      (error: unknown) => String(error),
    )
    expect(told).toContain(says)
    expect(told).not.toContain(privateKey.split('\n')[1])
    expect(told).not.toContain('secret@')
  })
})
