import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'

const OTHERS_MAY_WRITE = 0o022
const STICKY = 0o1000
const ANYBODY_MAY_RUN = 0o111

/**
 * The real path of a program that nobody but root and the present user can have put there or can change: neither the
 * file nor a folder on the way to it. Throws an Error with words.
 */
export async function requireTrustedProgram(file: string): Promise<string> {
  if (!path.isAbsolute(file)) throw new Error(`${file} is not an absolute path`)
  const program = await realpath(file)
  const { mode } = await requireOurs(program)
  const found = await stat(program)
  if (!found.isFile()) throw new Error(`${program} is not a regular file`)
  if ((mode & ANYBODY_MAY_RUN) === 0) throw new Error(`${program} is not executable`)
  for (let folder = path.dirname(program); ; folder = path.dirname(folder)) {
    await requireOurs(folder)
    if (folder === path.dirname(folder)) return program
  }
}

async function requireOurs(place: string): Promise<{ mode: number }> {
  const { uid, mode } = await stat(place)
  const ours = process.geteuid?.() ?? 0
  if (uid !== 0 && uid !== ours) throw new Error(`${place} belongs to user ${uid}, not to root: chown root ${place}`)
  // In a sticky folder nobody renames or removes what is another's.
  if ((mode & OTHERS_MAY_WRITE) !== 0 && (mode & STICKY) === 0)
    throw new Error(`${place} can be changed by others than its owner: chmod go-w ${place}`)
  return { mode }
}
