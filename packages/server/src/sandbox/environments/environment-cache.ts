import { chmod, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { unpackArchive } from './archive.ts'
import { readEnvironmentLock, type EnvironmentLock } from './environment-lock.ts'

/** The locks of all archives in the cache, newest first. A lock that can't be read counts as absent: the cache may be emptied at any time. */
export async function cachedLocks(cacheDir: string): Promise<EnvironmentLock[]> {
  const locks: EnvironmentLock[] = []
  for (const name of await readdir(cacheDir)) {
    if (!name.endsWith('.lock.json')) continue
    const lock = await readEnvironmentLock(path.join(cacheDir, name)).catch(() => undefined)
    if (lock !== undefined) locks.push(lock)
  }
  return locks.toSorted((a, b) => (a.built_at > b.built_at ? -1 : 1))
}

/** Where an archive is written until it is known what it is: in the cache itself, so that keeping it is a rename. */
export function unnamedArchive(cacheDir: string): string {
  return path.join(cacheDir, '.unnamed.tar.zst')
}

/** Keeps the unnamed archive under its version; its lock comes last, so a lock in the cache means a whole archive. */
export async function keepArchive(cacheDir: string, lock: EnvironmentLock): Promise<void> {
  await rename(unnamedArchive(cacheDir), archiveFile(cacheDir, lock))
  await writeFile(`${lockFile(cacheDir, lock)}.new`, JSON.stringify(lock))
  await rename(`${lockFile(cacheDir, lock)}.new`, lockFile(cacheDir, lock))
}

/** Unpacks a cached archive into a new folder. False, and the archive is dropped, when its bytes are not those that the lock names. */
export async function restoreFromCache(cacheDir: string, lock: EnvironmentLock, rootFs: string): Promise<boolean> {
  await mkdir(rootFs)
  await chmod(rootFs, 0o755)
  const facts = await unpackArchive(archiveFile(cacheDir, lock), rootFs).catch(() => undefined)
  if (facts?.sha256 === lock.archive.sha256) return true
  await rm(lockFile(cacheDir, lock), { force: true })
  await rm(archiveFile(cacheDir, lock), { force: true })
  return false
}

function archiveFile(cacheDir: string, lock: EnvironmentLock): string {
  return path.join(cacheDir, `${lock.env_version}.tar.zst`)
}

function lockFile(cacheDir: string, lock: EnvironmentLock): string {
  return path.join(cacheDir, `${lock.env_version}.lock.json`)
}
