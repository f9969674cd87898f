import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { diffLocks, readEnvironmentLock } from './environment-lock.ts'
import { exampleLock } from './example-lock.fixture.ts'

test('the same archive has no differences, whatever else the locks say', () => {
  expect(diffLocks(exampleLock(), { ...exampleLock(), built_at: '2026-01-01T00:00:00Z' })).toEqual([])
})

test('differences name package and both versions', () => {
  const [numpy, libc] = exampleLock().packages
  if (numpy === undefined || libc === undefined) throw new Error('the example has two packages')
  const actual = {
    ...exampleLock(),
    archive: { sha256: 'b'.repeat(64), size_bytes: 5 },
    packages: [
      { ...numpy, version: '1.26' },
      { ...libc, name: 'musl' },
    ],
  }
  expect(diffLocks(exampleLock(), actual)).toEqual([
    'libc6: locked 2.36, now absent',
    'musl: not locked, now 2.36',
    'python3-numpy: locked 1.24, now 1.26',
  ])
})

test('a package of the same version with other bytes is a difference', () => {
  const actual = { ...exampleLock(), archive: { sha256: 'b'.repeat(64), size_bytes: 5 } }
  actual.packages = actual.packages.map((pack) => ({ ...pack, sha256: 'c'.repeat(64) }))
  expect(diffLocks(exampleLock(), actual)[0]).toContain('libc6 2.36: locked package digest')
})

test('the same packages with another archive are told as such', () => {
  const actual = { ...exampleLock(), archive: { sha256: 'b'.repeat(64), size_bytes: 5 } }
  expect(diffLocks(exampleLock(), actual)).toEqual([expect.stringContaining('the same packages gave another archive')])
})

test.each([
  ['not JSON', 'hello'],
  ['another JSON', '{"schema_version": 2}'],
  ['empty', ''],
])('%s is not a lock', async (_name, text) => {
  const folder = await mkdtemp(path.join(tmpdir(), 'ergon-lock-'))
  onTestFinished(() => rm(folder, { recursive: true }))
  const file = path.join(folder, 'lock.json')
  await writeFile(file, text)
  await expect(readEnvironmentLock(file)).rejects.toMatchObject({ code: 'ENVIRONMENT_LOCK_MISMATCH' })
})
