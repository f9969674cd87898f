import { closeSync, constants, fchmodSync, fchownSync, fstatSync, mkdirSync, openSync } from 'node:fs'
import path from 'node:path'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { OsUser } from '../platform/process/os-user.ts'

/**
 * The worker's, and its group is the API's, which may add: setgid, so that whatever is made below has that group, and sticky,
 * so that nobody but the worker (and root) can take away or replace what somebody else has put there;
 * the API can do so with what it added itself. Files are read-only
 * for everybody, and nobody else comes in.
 */
const MODE = 0o3770
const ONLY_A_FOLDER = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW

/**
 * As root: makes the artifact folder and the 256 below it that files lie in, all of them the worker's and open to the API. The
 * API must make none of them, since whoever owns a folder can empty it. What an earlier version left is put right; files
 * stay as they are. Two system calls for each folder that needs nothing.
 */
export function shareArtifactFolder(folder: string, worker: OsUser, api: OsUser): void {
  mkdirSync(folder, { recursive: true })
  const top = openShared(folder, worker, api)
  try {
    const sha256 = openBelow(top, 'sha256', worker, api)
    try {
      for (let first = 0; first < 256; first++)
        closeSync(openBelow(sha256, first.toString(16).padStart(2, '0'), worker, api))
    } finally {
      closeSync(sha256)
    }
  } finally {
    closeSync(top)
  }
}

/** By its parent's descriptor: the parent is the worker's, who could put a link anywhere in the place of a path. */
function openBelow(parent: number, name: string, worker: OsUser, api: OsUser): number {
  const child = path.join('/proc/self/fd', String(parent), name)
  try {
    return openShared(child, worker, api)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    mkdirSync(child, { mode: 0o700 })
    return openShared(child, worker, api)
  }
}

function openShared(folder: string, worker: OsUser, api: OsUser): number {
  const descriptor = openSync(folder, ONLY_A_FOLDER)
  try {
    const { uid, gid, mode } = fstatSync(descriptor)
    if (uid === worker.uid && gid === api.gid && (mode & 0o7777) === MODE) return descriptor
    // Root's when it is new, the API's if one of an odd version made it. Another's would not be ours to give away.
    if (![0, worker.uid, api.uid].includes(uid))
      throw new ErgonError(
        'CONFIG_INVALID',
        `a folder of the artifacts belongs to uid ${uid}: chown it to ${worker.name}`,
      )
    // The mode last: a change of owner clears setgid.
    fchownSync(descriptor, worker.uid, api.gid)
    fchmodSync(descriptor, MODE)
    return descriptor
  } catch (error) {
    closeSync(descriptor)
    throw error
  }
}
