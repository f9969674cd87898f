import { randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Database } from '../platform/db/database.ts'
import { scramVerifier } from './scram-verifier.ts'

/**
 * The URL with which workers of this ERGON_HOME sign in as ergon_worker, which may do what a worker does and nothing
 * else. Its password is made once, kept in the credentials folder, and set in the database when it is not known there.
 */
export async function workerDatabaseUrl(db: Database, databaseUrl: string, credentialsFolder: string): Promise<string> {
  const file = path.join(credentialsFolder, 'ergon_worker.password')
  const password = await readFile(file, 'utf8').catch(async () => {
    const made = randomBytes(24).toString('base64url')
    await writeFile(file, made, { mode: 0o600, flag: 'wx' })
    return made
  })
  // A statement shows in the server's log and activity, so it holds what is derived from the password. It cannot have
  // parameters; base64 has no quote in it.
  await db.query(`alter role ergon_worker login password '${await scramVerifier(password)}'`)
  const url = new URL(databaseUrl)
  url.username = 'ergon_worker'
  url.password = password
  return url.toString()
}
