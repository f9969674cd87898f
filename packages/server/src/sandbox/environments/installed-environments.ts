import { existsSync } from 'node:fs'
import { readdir, readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import { readEnvironmentLock, type EnvironmentLock } from './environment-lock.ts'

/** An environment that is ready to run jobs in. */
export interface InstalledEnvironment {
  name: string
  /** `<name>@<SHA-256 of the archive, in hex>`. */
  envVersion: string
  /** The folder that becomes a sandbox's root file system. */
  rootFs: string
  language: string
  /** The version that the bare name stands for. */
  isDefault: boolean
  lock: EnvironmentLock
}

const VERSION_PATTERN = /^([a-z][a-z0-9-]{0,62})@[0-9a-f]{64}$/

/** The environments of a folder, by name and then newest first; an absent folder holds none. */
export async function listEnvironments(environmentsDir: string): Promise<InstalledEnvironment[]> {
  const environments: InstalledEnvironment[] = []
  for (const envVersion of await readFolder(environmentsDir)) {
    const name = VERSION_PATTERN.exec(envVersion)?.[1]
    if (name !== undefined) environments.push(await readInstalled(environmentsDir, name, envVersion))
  }
  return environments.toSorted((a, b) => compare(a.name, b.name) || compare(b.lock.built_at, a.lock.built_at))
}

/** Finds an environment by its version or, for a bare name, its default version; throws ENVIRONMENT_NOT_FOUND with the remedy. */
export async function resolveEnvironment(
  environmentsDir: string,
  nameOrVersion: string,
): Promise<InstalledEnvironment> {
  // Straight to the one file: workers ask this for every job.
  const envVersion = nameOrVersion.includes('@')
    ? nameOrVersion
    : /^[a-z][a-z0-9-]{0,62}$/.test(nameOrVersion) && (await readDefaultVersion(environmentsDir, nameOrVersion))
  const name = VERSION_PATTERN.exec(envVersion || '')?.[1]
  if (name !== undefined && envVersion && existsSync(path.join(environmentsDir, envVersion))) {
    return readInstalled(environmentsDir, name, envVersion)
  }
  const installed = await listEnvironments(environmentsDir)
  throw new ErgonError('ENVIRONMENT_NOT_FOUND', explainMissing(environmentsDir, nameOrVersion, installed))
}

/** Makes a version the one that its bare name stands for. */
export async function setDefaultVersion(environmentsDir: string, name: string, envVersion: string): Promise<void> {
  const file = defaultFile(environmentsDir, name)
  await writeFile(`${file}.new`, `${envVersion}\n`)
  await rename(`${file}.new`, file)
}

function explainMissing(environmentsDir: string, wanted: string, installed: readonly InstalledEnvironment[]): string {
  const names = [...new Set(installed.map((env) => env.name))]
  const [name = wanted] = wanted.split('@')
  const similar = names.includes(name) ? undefined : closestMatch(name, names)
  const versions = installed.filter((env) => env.name === name).map((env) => env.envVersion)
  return [
    `there is no environment "${wanted}" in ${environmentsDir}`,
    ...(similar === undefined ? [] : [`did you mean "${similar}"?`]),
    ...(versions.length === 0 ? [] : [`versions of it that are there: ${versions.join(', ')}`]),
    names.length === 0 ? 'no environment is built yet' : `built environments: ${names.join(', ')}`,
    `\`ergon env build ${similar ?? name}\` builds it`,
  ].join('; ')
}

async function readInstalled(environmentsDir: string, name: string, envVersion: string): Promise<InstalledEnvironment> {
  const folder = path.join(environmentsDir, envVersion)
  const lock = await readEnvironmentLock(path.join(folder, 'lock.json'))
  const isDefault = (await readDefaultVersion(environmentsDir, name)) === envVersion
  return {
    name,
    envVersion,
    rootFs: path.join(folder, 'rootfs'),
    language: lock.language,
    isDefault,
    lock,
  }
}

async function readDefaultVersion(environmentsDir: string, name: string): Promise<string | undefined> {
  try {
    return (await readFile(defaultFile(environmentsDir, name), 'utf8')).trim()
  } catch (error) {
    if (isMissing(error)) return undefined
    throw error
  }
}

function defaultFile(environmentsDir: string, name: string): string {
  return path.join(environmentsDir, `${name}.default`)
}

async function readFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (isMissing(error)) return []
    throw error
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function compare(a: string, b: string): number {
  if (a === b) return 0
  return a < b ? -1 : 1
}
