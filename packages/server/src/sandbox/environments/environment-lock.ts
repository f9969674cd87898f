import { readFile } from 'node:fs/promises'
import { z } from 'zod'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

const hexDigest = z.string().regex(/^[0-9a-f]{64}$/)

const lockedPackageSchema = z.object({
  name: z.string(),
  version: z.string(),
  architecture: z.string(),
  sha256: hexDigest,
})
export type LockedPackage = z.infer<typeof lockedPackageSchema>

/** What a build resolved to: enough to say what an environment holds, and to build it again. */
export const environmentLockSchema = z.object({
  schema_version: z.literal(1),
  name: z.string(),
  env_version: z.string(),
  language: z.string(),
  interpreter: z.string(),
  suite: z.string(),
  architecture: z.string(),
  builder_version: z.number().int(),
  definition_sha256: hexDigest,
  archive: z.object({ sha256: hexDigest, size_bytes: z.number().int() }),
  warm_imports: z.array(z.string()),
  omitted: z.array(z.string()),
  packages: z.array(lockedPackageSchema),
  built_at: z.iso.datetime(),
})
export type EnvironmentLock = z.infer<typeof environmentLockSchema>

/** Reads a lock file; anything else than a lock is ENVIRONMENT_LOCK_MISMATCH with the file and the first fault. */
export async function readEnvironmentLock(file: string): Promise<EnvironmentLock> {
  try {
    return environmentLockSchema.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch (cause) {
    const reason = cause instanceof z.ZodError ? z.prettifyError(cause).split('\n')[0] : (cause as Error).message
    throw new ErgonError('ENVIRONMENT_LOCK_MISMATCH', `${file} is not the lock of an environment: ${reason}`, { cause })
  }
}

/** The differences between two locks that change what a program meets, one readable line each; empty when the archives are the same. */
export function diffLocks(expected: EnvironmentLock, actual: EnvironmentLock): string[] {
  if (expected.archive.sha256 === actual.archive.sha256) return []
  const lines: string[] = []
  for (const key of ['name', 'suite', 'architecture', 'builder_version', 'definition_sha256'] as const) {
    if (expected[key] !== actual[key]) lines.push(`${key}: locked ${expected[key]}, now ${actual[key]}`)
  }
  const before = new Map(expected.packages.map((pack) => [pack.name, pack]))
  const after = new Map(actual.packages.map((pack) => [pack.name, pack]))
  for (const name of [...new Set([...before.keys(), ...after.keys()])].toSorted()) {
    const old = before.get(name)
    const found = after.get(name)
    if (old === undefined) lines.push(`${name}: not locked, now ${found?.version}`)
    else if (found === undefined) lines.push(`${name}: locked ${old.version}, now absent`)
    else if (old.version !== found.version) lines.push(`${name}: locked ${old.version}, now ${found.version}`)
    else if (old.sha256 !== found.sha256)
      lines.push(`${name} ${old.version}: locked package digest ${old.sha256}, now ${found.sha256}`)
  }
  return lines.length > 0
    ? lines
    : [`the same packages gave another archive: locked ${expected.archive.sha256}, now ${actual.archive.sha256}`]
}
