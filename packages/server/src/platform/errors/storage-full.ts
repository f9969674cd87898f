import { ErgonError } from './ergon-error.ts'

/** True for the errors a file system gives when it has no room: no space, quota, no inodes. */
export function isStorageFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}

/** The coded error for a full disk; `what` names the place in words. */
export function storageFull(what: string, folder: string, cause: unknown): ErgonError {
  return new ErgonError(
    'STORAGE_FULL',
    `no space left for ${what} in ${folder}: free some space; the job will be tried again`,
    { cause },
  )
}
