import { createHash, randomBytes } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import path from 'node:path'
import type { Database } from '../platform/db/database.ts'
import { scramVerifier } from './scram-verifier.ts'

/** The groups of whose rights a data folder has logins of its own. */
export type LoginGroup = 'ergon_worker' | 'ergon_callback' | 'ergon_api'

/**
 * The URL with which workers of this ERGON_HOME sign in: as a role of their own in the group ergon_worker, which may do
 * what a worker does and nothing else, or in the group ergon_callback, which may run callbacks and nothing
 * else, or in ergon_api. Of their
 * own, since a shared password would be changed under the feet of the workers of every other machine. It is made once and
 * kept in the credentials folder.
 */
export async function workerDatabaseUrl(
  db: Database,
  databaseUrl: string,
  credentialsFolder: string,
  group: LoginGroup,
): Promise<string> {
  const file = path.join(credentialsFolder, `${group}.password`)
  const password = await readFile(file, 'utf8').catch(async () => {
    const made = randomBytes(24).toString('base64url')
    await writeFile(file, made, { mode: 0o600, flag: 'wx' })
    return made
  })
  const role = roleOf(credentialsFolder, group)
  // A statement shows in the server's log and activity, so it holds what is derived from the password. It cannot have
  // parameters; neither base64 nor the role's name has a quote in it.
  const verifier = await scramVerifier(password)
  const { rows } = await db.query('select from pg_catalog.pg_roles where rolname = $1', [role])
  if (rows.length > 0) await db.query(`alter role ${role} login password '${verifier}'`)
  else await db.query(`create role ${role} login password '${verifier}' in role ${group}`)
  const url = new URL(databaseUrl)
  url.username = role
  url.password = password
  return url.toString()
}

function roleOf(credentialsFolder: string, group: string): string {
  const place = createHash('sha256').update(`${hostname()}:${credentialsFolder}`).digest('hex')
  return `${group}_${place.slice(0, 16)}`
}
