import { createHash } from 'node:crypto'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { holdFileLock } from '../../platform/process/file-lock.ts'
import { writeArchive } from './archive.ts'
import { cachedLocks, keepArchive, restoreFromCache, unnamedArchive } from './environment-cache.ts'
import { readEnvironmentDefinition, type EnvironmentDefinition } from './environment-definition.ts'
import { diffLocks, readEnvironmentLock, type EnvironmentLock } from './environment-lock.ts'
import { installDebianRootFs, pinsOf, type DebianMirrors } from './debian-root-fs.ts'
import { finishRootFs } from './finish-root-fs.ts'
import { listEnvironments, setDefaultVersion } from './installed-environments.ts'

/** Raised whenever this code would make another archive of the same definition. */
const BUILDER_VERSION = 3

/** The time of every file in every environment: 2025-01-01. A time of the build itself would make each build another environment. */
const SOURCE_DATE_EPOCH_S = 1_735_689_600

const DEFAULT_MIRRORS: DebianMirrors = {
  main: 'http://deb.debian.org/debian',
  security: 'http://deb.debian.org/debian-security',
}

export interface BuildEnvironmentOptions {
  definitionFile: string
  environmentsDir: string
  /** Ergon's cache folder. Its sub-folder `environments` keeps finished archives, so that an emptied data folder is filled again in seconds. */
  cacheDir: string
  /** Debian mirrors; deb.debian.org by default. */
  mirrors?: Partial<DebianMirrors>
  /** A lock file: the result is exactly what it names, or ENVIRONMENT_LOCK_MISMATCH with the differences. */
  locked?: string
  /** Asks the mirrors again although this definition is built: takes in Debian's security updates as a new version. */
  refresh?: boolean
  /** Called with a short phrase when a step begins. */
  onProgress?: (step: string) => void
}

export interface BuiltEnvironment {
  name: string
  envVersion: string
  rootFs: string
  lock: EnvironmentLock
  /** Where it came from: it was there, its archive was in the cache, or it was built. */
  source: 'installed' | 'cache' | 'built'
}

/**
 * Makes the environment of a definition present and its name's default. One build at a time per folder; a build that ends
 * in the middle leaves nothing that counts. Needs root. Throws ENVIRONMENT_DEFINITION_INVALID, ENVIRONMENT_BUILD_FAILED or
 * ENVIRONMENT_LOCK_MISMATCH.
 */
export async function buildEnvironment(options: BuildEnvironmentOptions): Promise<BuiltEnvironment> {
  const { environmentsDir } = options
  const cacheDir = path.join(options.cacheDir, 'environments')
  const onProgress = options.onProgress ?? (() => {})
  const { definition, text } = await readEnvironmentDefinition(options.definitionFile)
  const expected = options.locked === undefined ? undefined : await readEnvironmentLock(options.locked)
  const isWanted = wantedLock(definition, createHash('sha256').update(text).digest('hex'), expected)
  for (const folder of [environmentsDir, cacheDir]) await makeTraversable(folder)

  const onWait = (): void => onProgress('waiting for another build to end')
  await using locks = new AsyncDisposableStack()
  for (const folder of [environmentsDir, cacheDir]) {
    locks.adopt(await holdFileLock(path.join(folder, '.build.lock'), onWait), (lock) => lock.release())
  }
  await removeUnfinished(environmentsDir)

  if (options.refresh !== true) {
    const installed = (await listEnvironments(environmentsDir)).find((env) => isWanted(env.lock))
    if (installed !== undefined) {
      await setDefaultVersion(environmentsDir, definition.name, installed.envVersion)
      return {
        name: installed.name,
        envVersion: installed.envVersion,
        rootFs: installed.rootFs,
        lock: installed.lock,
        source: 'installed',
      }
    }
    for (const lock of (await cachedLocks(cacheDir)).filter(isWanted)) {
      onProgress('unpacking the archive from the cache')
      const buildDir = await makeBuildDir(environmentsDir)
      if (await restoreFromCache(cacheDir, lock, path.join(buildDir, 'rootfs')))
        return await install(environmentsDir, buildDir, lock, 'cache')
      await rm(buildDir, { recursive: true })
    }
  }

  requireRoot(definition)
  const buildDir = await makeBuildDir(environmentsDir)
  try {
    const lock = await buildAndPack(buildDir, unnamedArchive(cacheDir), definition, text, expected, options)
    if (expected !== undefined) refuseDifference(expected, lock)
    await keepArchive(cacheDir, lock)
    return await install(environmentsDir, buildDir, lock, 'built')
  } finally {
    await rm(unnamedArchive(cacheDir), { force: true })
    await rm(buildDir, { recursive: true, force: true })
  }
}

async function buildAndPack(
  buildDir: string,
  archiveFile: string,
  definition: EnvironmentDefinition,
  text: string,
  expected: EnvironmentLock | undefined,
  options: BuildEnvironmentOptions,
): Promise<EnvironmentLock> {
  const onProgress = options.onProgress ?? (() => {})
  const rootFs = path.join(buildDir, 'rootfs')
  const sourceDateEpochS = SOURCE_DATE_EPOCH_S
  const mirrors = { ...DEFAULT_MIRRORS, ...options.mirrors }
  const packages = await installDebianRootFs({
    definition,
    buildDir,
    mirrors,
    pins: pinsOf(expected),
    sourceDateEpochS,
    onProgress,
  })
  await finishRootFs({ rootFs, definition, sourceDateEpochS, onProgress })
  onProgress('writing the archive')
  const archive = await writeArchive(rootFs, archiveFile, sourceDateEpochS)
  return {
    schema_version: 1,
    name: definition.name,
    env_version: `${definition.name}@${archive.sha256}`,
    language: definition.language,
    interpreter: definition.interpreter,
    suite: definition.suite,
    architecture: process.arch,
    builder_version: BUILDER_VERSION,
    definition_sha256: createHash('sha256').update(text).digest('hex'),
    archive,
    warm_imports: definition.warm_imports,
    omitted: definition.omit,
    packages,
    built_at: new Date().toISOString(),
  }
}

/** Whether an existing build serves: the very archive of a lock or, without one, the same definition built by the same builder. */
function wantedLock(
  definition: EnvironmentDefinition,
  definitionSha256: string,
  expected: EnvironmentLock | undefined,
) {
  return (lock: EnvironmentLock): boolean =>
    expected === undefined
      ? lock.name === definition.name &&
        lock.definition_sha256 === definitionSha256 &&
        lock.builder_version === BUILDER_VERSION &&
        lock.architecture === process.arch
      : lock.env_version === expected.env_version
}

function refuseDifference(expected: EnvironmentLock, actual: EnvironmentLock): void {
  const differences = diffLocks(expected, actual)
  if (differences.length === 0) return
  throw new ErgonError(
    'ENVIRONMENT_LOCK_MISMATCH',
    [
      `${expected.env_version} cannot be built again here:`,
      ...differences,
      'Build without --locked to get a new version, or name a mirror that still has the locked packages in ERGON_DEBIAN_MIRROR.',
    ].join('\n  '),
  )
}

function requireRoot(definition: EnvironmentDefinition): void {
  if (process.getuid?.() === 0) return
  throw new ErgonError(
    'ENVIRONMENT_BUILD_FAILED',
    `building the environment ${definition.name} needs root: its files belong to root. Run \`sudo ergon env build ${definition.name}\`.`,
  )
}

/** The rename is the moment at which the environment exists. */
async function install(
  environmentsDir: string,
  buildDir: string,
  lock: EnvironmentLock,
  source: 'cache' | 'built',
): Promise<BuiltEnvironment> {
  const folder = path.join(environmentsDir, lock.env_version)
  const ready = path.join(buildDir, 'ready')
  await mkdir(ready)
  await chmod(ready, 0o755)
  await rename(path.join(buildDir, 'rootfs'), path.join(ready, 'rootfs'))
  await writeFile(path.join(ready, 'lock.json'), `${JSON.stringify(lock, null, 2)}\n`)
  const exists = await stat(folder).then(
    () => true,
    () => false,
  )
  if (!exists) await rename(ready, folder)
  await rm(buildDir, { recursive: true, force: true })
  await setDefaultVersion(environmentsDir, lock.name, lock.env_version)
  return {
    name: lock.name,
    envVersion: lock.env_version,
    rootFs: path.join(folder, 'rootfs'),
    lock,
    source,
  }
}

const BUILD_PREFIX = '.building-'

async function makeBuildDir(environmentsDir: string): Promise<string> {
  const folder = await mkdtemp(path.join(environmentsDir, BUILD_PREFIX))
  await chmod(folder, 0o711)
  return folder
}

/** What a killed build left behind; only the holder of the lock may call it. */
async function removeUnfinished(environmentsDir: string): Promise<void> {
  for (const name of await readdir(environmentsDir)) {
    if (name.startsWith(BUILD_PREFIX))
      await rm(path.join(environmentsDir, name), {
        recursive: true,
        force: true,
      })
  }
}

/** Each folder made gets 0711, whatever the umask: a private one in between would lock out the users that run jobs. */
async function makeTraversable(folder: string): Promise<void> {
  const first = await mkdir(folder, { recursive: true })
  if (first === undefined) return
  for (let made = folder; made.length >= first.length; made = path.dirname(made)) await chmod(made, 0o711)
}
