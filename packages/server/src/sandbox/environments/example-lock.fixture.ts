import type { EnvironmentLock } from './environment-lock.ts'

/** A small lock for tests. */
export function exampleLock(name = 'python-sci', digit = 'a', builtAt = '2025-06-01T00:00:00Z'): EnvironmentLock {
  const sha256 = digit.repeat(64)
  return {
    schema_version: 1,
    name,
    env_version: `${name}@${sha256}`,
    language: 'python',
    interpreter: '/usr/bin/python3',
    suite: 'bookworm',
    architecture: 'x64',
    builder_version: 1,
    definition_sha256: 'd'.repeat(64),
    archive: { sha256, size_bytes: 10_240 },
    warm_imports: ['numpy'],
    omitted: [],
    packages: [
      { name: 'python3-numpy', version: '1.24', architecture: 'amd64', sha256: 'e'.repeat(64) },
      { name: 'libc6', version: '2.36', architecture: 'amd64', sha256: 'f'.repeat(64) },
    ],
    built_at: builtAt,
  }
}
