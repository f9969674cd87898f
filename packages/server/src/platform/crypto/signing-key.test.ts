import { generateKeyPairSync } from 'node:crypto'
import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ensureSigningKeyFile, openSigningKey, openVerifyingKey, readSigningKeyFile } from './signing-key.ts'

let folder: string
beforeEach(() => (folder = mkdtempSync(path.join(tmpdir(), 'signing-key-'))))
afterEach(() => rmSync(folder, { recursive: true }))

describe('signing keys', () => {
  it('are made once, for their owner alone, and sign what their public half checks', async () => {
    const file = path.join(folder, 'key.pem')
    const pems = await Promise.all([ensureSigningKeyFile(file), ensureSigningKeyFile(file)])
    expect(new Set(pems).size).toBe(1)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    const key = openSigningKey(pems[0])
    const half = openVerifyingKey(key.publicKeyPem, 'half')
    expect(half.keyId).toBe(key.keyId)
    expect(half.isSignatureOf('text', key.sign('text'))).toBe(true)
    expect(half.isSignatureOf('other', key.sign('text'))).toBe(false)
  })

  it.each([
    ['no key', () => 'hello', 0o600, 'is not an Ed25519 private key'],
    [
      'a key of another kind',
      () =>
        String(generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ type: 'pkcs8', format: 'pem' })),
      0o600,
      'it is a key of type ec',
    ],
    ['a file that others may read', () => 'hello', 0o640, 'other users may use it (mode 640): chmod 600'],
  ])('are not %s', async (_what, text, mode, words) => {
    const file = path.join(folder, 'key.pem')
    writeFileSync(file, text())
    chmodSync(file, mode)
    await expect(readSigningKeyFile(file)).rejects.toThrow(words)
  })

  it('are missed by name', async () => {
    await expect(readSigningKeyFile(path.join(folder, 'none.pem'))).rejects.toMatchObject({
      code: 'SIGNING_KEY_INVALID',
    })
  })
})
