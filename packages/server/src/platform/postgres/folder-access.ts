import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import type { OsUser } from '../process/os-user.ts'

/** The outermost folder on the way to `target` that the user may not pass through, or null when the way is free. */
export async function firstClosedFolder(target: string, user: OsUser): Promise<string | null> {
  const folders: string[] = []
  for (let folder = await realpath(target); ; folder = path.dirname(folder)) {
    folders.unshift(folder)
    if (folder === path.dirname(folder)) break
  }
  for (const folder of folders) {
    const { mode, uid, gid } = await stat(folder)
    const executable = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001
    if ((mode & executable) === 0) return folder
  }
  return null
}
