import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { access, chown, mkdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { ErgonError } from '../errors/ergon-error.ts'
import type { OsUser } from '../process/os-user.ts'
import type { PostgresFolders } from './postgres-folders.ts'
import { SERVER_ENVIRONMENT } from './server-process.ts'

const run = promisify(execFile)

/** Makes the data folder if it is not there. It gets its name when it is complete, so a kill in between leaves none. */
export async function initialiseData(
  folders: PostgresFolders,
  initdb: string,
  user: OsUser,
  password: string,
): Promise<void> {
  if (await hasData(folders.data, user)) return
  const unfinished = `${folders.data}.new`
  const passwordFile = path.join(folders.socket, `password-${randomBytes(4).toString('hex')}`)
  await rm(unfinished, { recursive: true, force: true })
  await mkdir(unfinished, { mode: 0o700 })
  try {
    await writeFile(passwordFile, password, { mode: 0o600, flag: 'wx' })
    await giveTo(user, unfinished)
    await giveTo(user, passwordFile)
    await run(
      initdb,
      [
        ['--pgdata', unfinished],
        ['--username', 'postgres'],
        ['--pwfile', passwordFile],
        ['--auth', 'scram-sha-256'],
        ['--encoding', 'UTF8'],
        ['--locale', 'C'],
        ['--locale-provider', 'builtin'],
        ['--builtin-locale', 'C.UTF-8'],
        ['--no-instructions'],
      ].flat(),
      { uid: user.uid, gid: user.gid, cwd: '/', env: SERVER_ENVIRONMENT },
    )
    await rename(unfinished, folders.data)
  } catch (error) {
    const reason = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : String(error)
    throw new ErgonError('DATABASE_START_FAILED', `the data folder ${folders.data} could not be made: ${reason}`, {
      cause: error,
    })
  } finally {
    await rm(passwordFile, { force: true })
    await rm(unfinished, { recursive: true, force: true })
  }
}

async function hasData(folder: string, user: OsUser): Promise<boolean> {
  const found = await stat(folder).catch(() => null)
  if (found === null) return false
  if (found.uid !== user.uid) {
    throw new ErgonError(
      'DATABASE_FOLDER_UNUSABLE',
      `${folder} belongs to uid ${found.uid}, but PostgreSQL would run as "${user.name}" (uid ${user.uid}): start Ergon as the user that made it, or set ERGON_HOME to another folder`,
    )
  }
  await access(path.join(folder, 'PG_VERSION'))
  return true
}

/** As root the files must be the server's user's; otherwise they are already. */
export async function giveTo(user: OsUser, file: string): Promise<void> {
  if (process.getuid?.() === 0) await chown(file, user.uid, user.gid)
}
