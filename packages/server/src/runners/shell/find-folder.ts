import type { Failure } from '@ergon/contract'
import { validationFailure } from '../sandboxed/read-payload.ts'
import { isPlainPath, isWithinFolder, resolveInRoot } from './root-path.ts'

/** Where a sandbox starts its program unless somebody says otherwise. */
const DEFAULT_FOLDER = '/workspace'
/** Folders that every sandbox has beside its environment's, empty of links when it starts. */
const SANDBOX_FOLDERS = new Set(['/tmp', '/workspace', '/workspace/code', '/workspace/input', '/workspace/output'])
const OTHERS_ENTER = 0o001

interface FolderRules {
  /** The service's own; null for the default. */
  stated: string | null
  /** The folders in or below which it must be; with none, a call cannot choose. */
  restrictions: readonly string[]
}

export type FoundFolder = { ok: true; folder: string } | { ok: false; failure: Failure }

/** The folder that a job starts in: what its call asks for, as far as the service's restrictions allow it. */
export async function findFolder(
  rootFs: string,
  { stated, restrictions }: FolderRules,
  asked: string | null,
): Promise<FoundFolder> {
  const wanted = asked ?? stated ?? DEFAULT_FOLDER
  if (!isPlainPath(wanted)) {
    return refuse(`working_directory is ${JSON.stringify(wanted)}: it must be an absolute path without "." and ".."`)
  }
  if (asked !== null && restrictions.length === 0) {
    return refuse(
      'this service lets no call choose its working_directory; its policy would need working_directory_restrictions',
    )
  }
  const folder = await resolveFolder(rootFs, wanted)
  if (folder === null) return refuse(`working_directory ${wanted} is no folder of the sandbox that a job can enter`)
  const roots = await Promise.all(restrictions.map((root) => resolveFolder(rootFs, root)))
  if (restrictions.length > 0 && !roots.some((root) => root !== null && isWithinFolder(folder, root)))
    return refuse(`working_directory ${wanted} is below none of the service's working_directory_restrictions`)
  return { ok: true, folder }
}

/** The real path of a folder that is there before the job is. */
async function resolveFolder(rootFs: string, wanted: string): Promise<string | null> {
  if (SANDBOX_FOLDERS.has(wanted)) return wanted
  const found = await resolveInRoot(rootFs, wanted)
  if (!found.ok || !found.stats.isDirectory() || (found.stats.mode & OTHERS_ENTER) === 0) return null
  return found.path
}

function refuse(message: string): FoundFolder {
  return { ok: false, failure: validationFailure('WORKING_DIRECTORY_NOT_ALLOWED', message) }
}
