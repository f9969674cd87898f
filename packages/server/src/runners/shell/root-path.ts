import type { Stats } from 'node:fs'
import { lstat, readlink } from 'node:fs/promises'
import path from 'node:path'

/** Where a sandbox puts something of its own over an environment. */
const COVERED = ['/dev', '/proc', '/tmp', '/usr/lib/ergon', '/workspace'] as const
/** As many as Linux follows. */
const MAX_LINKS = 40

/** What a path is in an environment: a real file or folder, with no link in `path` any more, or why it is neither. */
export type RootPath =
  | { ok: true; path: string; stats: Stats }
  /** `at` is the link or the name that leads nowhere. */
  | { ok: false; at: string; reason: string }

/**
 * Follows an absolute path below `rootFs` as the kernel will in a sandbox that has it for its root: links are relative to
 * that root and no ".." leads above it. Nothing outside of it is ever looked at.
 */
export async function resolveInRoot(rootFs: string, wanted: string): Promise<RootPath> {
  const pending = namesOf(wanted)
  let at: string[] = []
  let stats = await lstat(rootFs)
  let links = 0
  for (let name = pending.shift(); name !== undefined; name = pending.shift()) {
    if (name === '..') {
      at.pop()
      continue
    }
    const here = `/${[...at, name].join('/')}`
    if (isCovered(here)) return { ok: false, at: here, reason: 'is not part of the environment' }
    try {
      stats = await lstat(path.join(rootFs, here))
    } catch (error) {
      if (isAbsent(error)) return { ok: false, at: here, reason: 'does not exist in the environment' }
      throw error
    }
    if (!stats.isSymbolicLink()) {
      at.push(name)
      continue
    }
    if (++links > MAX_LINKS) return { ok: false, at: here, reason: 'is a link that goes in circles' }
    const target = await readlink(path.join(rootFs, here))
    if (target.startsWith('/')) at = []
    pending.unshift(...namesOf(target))
  }
  const resolved = `/${at.join('/')}`
  return { ok: true, path: resolved, stats: await lstat(path.join(rootFs, resolved)) }
}

/** True for an absolute path that says where it leads: no "..", no ".", no empty name. */
export function isPlainPath(text: string): boolean {
  return text.startsWith('/') && path.posix.normalize(text) === text && (text === '/' || !text.endsWith('/'))
}

/** Whether a path is `root` or below it, by whole names. */
export function isWithinFolder(wanted: string, root: string): boolean {
  return root === '/' || wanted === root || wanted.startsWith(`${root}/`)
}

function isCovered(place: string): boolean {
  return COVERED.some((root) => isWithinFolder(place, root))
}

function namesOf(text: string): string[] {
  return text.split('/').filter((name) => name !== '' && name !== '.')
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')
}
