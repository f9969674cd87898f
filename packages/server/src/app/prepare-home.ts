import { chmod, chown, mkdir, stat, writeFile } from 'node:fs/promises'
import type { HomePaths } from '../config/home-paths.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { findOsUser, type OsUser } from '../platform/process/os-user.ts'
import { shareArtifactFolder } from './artifact-folder.ts'

export const WORKER_USER = 'ergon'
export const DATABASE_USER = 'ergon-postgres'

/** Not the worker's, whose memory holds secrets that another process of its user could read. */
export const API_USER = 'ergon-api'

/** The OS user workers run as: the dedicated one when root starts them, else whoever we are. Throws HOST_CANNOT_ISOLATE. */
export function workerUser(): OsUser {
  return ownUser(WORKER_USER, 'workers run')
}

/** The OS user the API runs as, likewise. */
export function apiUser(): OsUser {
  return ownUser(API_USER, 'the API runs')
}

function ownUser(name: string, whoRuns: string): OsUser {
  const uid = process.getuid?.() ?? 0
  if (uid !== 0) return { name: String(uid), uid, gid: process.getgid?.() ?? uid }
  const user = findOsUser(name)
  if (user !== null) return user
  throw new ErgonError(
    'HOST_CANNOT_ISOLATE',
    `the OS user "${name}", which ${whoRuns} as, does not exist: run bin/setup, or useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ${name}`,
  )
}

/**
 * Makes ERGON_HOME's folders with their owners. 0711 lets other users of Ergon's own (database, worker, sandboxes)
 * pass through without listing; what holds secrets or hostile bytes is its owner's alone. `api` is null where that user was
 * not added yet.
 */
export async function prepareHome(paths: HomePaths, user: OsUser, api = findOsUser(API_USER)): Promise<void> {
  try {
    const isNew = (await mkdir(paths.home, { recursive: true })) !== undefined
    // An existing folder keeps its rights: it may hold more than Ergon. The doctor says when they are too narrow.
    if (isNew) await chmod(paths.home, 0o711)
    else await refuseForeignHome(paths.home)
    for (const folder of [paths.run, paths.code]) {
      await mkdir(folder, { recursive: true })
      await chmod(folder, 0o711)
    }
    // Something to mount Node over.
    await writeFile(paths.node, '', { flag: 'a' })
    const isNewFolder = (await mkdir(paths.environments, { recursive: true })) !== undefined
    // An ordinary user may share root's environments, whose rights are root's affair.
    if (isNewFolder || process.getuid?.() === 0) await chmod(paths.environments, 0o755)
    for (const folder of [paths.credentials, paths.log]) await mkdir(folder, { recursive: true, mode: 0o700 })
    // Where the API's user is not there yet, there is no API to share with.
    if (process.getuid?.() === 0 && api !== null) {
      shareArtifactFolder(paths.artifacts, user, api)
      await makeOwn(paths.apiSpool, api)
    } else for (const folder of [paths.artifacts, paths.apiSpool]) await makeOwn(folder, user)
    await makeOwn(paths.spool, user)
  } catch (error) {
    if (error instanceof ErgonError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('CONFIG_INVALID', `ERGON_HOME (${paths.home}) cannot be used: ${reason}`, { cause: error })
  }
}

async function makeOwn(folder: string, { uid, gid }: OsUser): Promise<void> {
  await mkdir(folder, { recursive: true })
  await chmod(folder, 0o700)
  if (process.getuid?.() === 0) await chown(folder, uid, gid)
}

/** Root obeys what it finds in its home, links above all: so nobody else may have put anything there. */
async function refuseForeignHome(home: string): Promise<void> {
  if (process.getuid?.() !== 0) return
  const { uid, mode } = await stat(home)
  if (uid === 0 && (mode & 0o022) === 0) return
  throw new ErgonError(
    'CONFIG_INVALID',
    `ERGON_HOME (${home}) ${uid === 0 ? 'can be written by other users' : `belongs to uid ${uid}`}, and root would trust what they put there: choose a folder that is root's alone, or run chown root ${home} && chmod 0711 ${home} when all in it is yours`,
  )
}
