import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  randomUUID,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto'
import { link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { ErgonError } from '../errors/ergon-error.ts'

const HOW_TO_MAKE = 'openssl genpkey -algorithm ed25519 -out FILE && chmod 600 FILE makes one'

/** An Ed25519 key that signs what must not be changed unnoticed: audit seals, and whatever else leaves this machine as its word. */
export interface SigningKey {
  keyId: string
  publicKeyPem: string
  /** 64 bytes. */
  sign(text: string): Buffer
}

/** The half that anybody may have: it checks signatures and makes none. */
export interface VerifyingKey {
  keyId: string
  isSignatureOf(text: string, signature: Uint8Array): boolean
}

/** The private key's text of a file that nobody but its owner may read; throws SIGNING_KEY_INVALID. */
export async function readSigningKeyFile(file: string): Promise<string> {
  const { mode } = await stat(file).catch(unreadable(file))
  if ((mode & 0o077) !== 0)
    throw invalid(file, `other users may use it (mode ${(mode & 0o777).toString(8)}): chmod 600 ${file}`)
  const pem = await readFile(file, 'utf8').catch(unreadable(file))
  openSigningKey(pem, file)
  return pem
}

/** As `readSigningKeyFile`, and makes the key where there is none; of two that try, one makes it. */
export async function ensureSigningKeyFile(file: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const draft = `${file}.${randomUUID()}`
  try {
    await writeFile(draft, privateKey.export({ type: 'pkcs8', format: 'pem' }), {
      flag: 'wx',
      mode: 0o600,
      flush: true,
    })
    // Whole or not at all, and never over another one.
    await link(draft, file)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) unreadable(file)(error)
  } finally {
    await rm(draft, { force: true })
  }
  return readSigningKeyFile(file)
}

/** `source` is what messages call the key; its text is in none. */
export function openSigningKey(pem: string, source = 'the signing key'): SigningKey {
  const key = parseKey(() => createPrivateKey(pem), source, 'an Ed25519 private key in PEM')
  const publicKeyPem = String(createPublicKey(pem).export({ type: 'spki', format: 'pem' }))
  return { keyId: keyIdOf(createPublicKey(pem)), publicKeyPem, sign: (text) => sign(null, Buffer.from(text), key) }
}

/** Of a public key, or of the private one that it belongs to. */
export function openVerifyingKey(pem: string, source: string): VerifyingKey {
  const key = parseKey(() => createPublicKey(pem), source, 'an Ed25519 public key in PEM')
  return {
    keyId: keyIdOf(key),
    isSignatureOf: (text, signature) => verify(null, Buffer.from(text), key, signature),
  }
}

function parseKey(parse: () => KeyObject, source: string, expected: string): KeyObject {
  let key: KeyObject
  try {
    key = parse()
  } catch {
    throw invalid(source, `it is not ${expected}; ${HOW_TO_MAKE}`)
  }
  if (key.asymmetricKeyType !== 'ed25519')
    throw invalid(source, `it is a key of type ${key.asymmetricKeyType}, not ${expected}; ${HOW_TO_MAKE}`)
  return key
}

/** SHA-256 of the public key's standard encoding, which OpenSSL shows as well. */
function keyIdOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

function unreadable(file: string): (error: unknown) => never {
  return (error) => {
    throw invalid(file, `${error instanceof Error ? error.message : String(error)}; ${HOW_TO_MAKE}`)
  }
}

function invalid(source: string, problem: string): ErgonError {
  return new ErgonError('SIGNING_KEY_INVALID', `${source} cannot be used as signing key: ${problem}`)
}
