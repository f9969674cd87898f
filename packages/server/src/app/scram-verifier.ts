import { createHash, createHmac, pbkdf2, randomBytes } from 'node:crypto'
import { promisify } from 'node:util'

/** RFC 7677's least, and PostgreSQL's default: guessing a random password is hopeless at any count. */
const ITERATIONS = 4096

/** What PostgreSQL keeps of an ASCII password (RFC 5803): with it a server can check the password, and nobody sign in. */
export async function scramVerifier(password: string, salt: Buffer = randomBytes(16)): Promise<string> {
  const salted = await promisify(pbkdf2)(password, salt, ITERATIONS, 32, 'sha256')
  const keyFor = (role: string) => createHmac('sha256', salted).update(`${role} Key`).digest()
  const storedKey = createHash('sha256').update(keyFor('Client')).digest('base64')
  return `SCRAM-SHA-256$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${keyFor('Server').toString('base64')}`
}
