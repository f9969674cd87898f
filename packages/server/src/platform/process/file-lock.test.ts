import { mkdtemp, rm, stat, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { tryFileLock } from './file-lock.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-lock-'))
})
afterEach(() => rm(folder, { recursive: true }))

describe('tryFileLock', () => {
  it('lets one hold the lock at a time', async () => {
    const file = path.join(folder, 'lock')
    const first = await tryFileLock(file)
    expect(await tryFileLock(file)).toBeNull()
    await first?.release()
    const second = await tryFileLock(file)
    expect(second).not.toBeNull()
    await second?.release()
  })

  it.each(['a new file', 'a file that all could read'])('makes %s nobody else can open, and so lock', async (which) => {
    const file = path.join(folder, 'lock')
    if (which !== 'a new file') await writeFile(file, '', { mode: 0o644 })
    const lock = await tryFileLock(file)
    expect((await stat(file)).mode & 0o777).toBe(0o600)
    await lock?.release()
  })

  it('does not follow a link', async () => {
    await symlink(path.join(folder, 'elsewhere'), path.join(folder, 'lock'))
    await expect(tryFileLock(path.join(folder, 'lock'))).rejects.toThrow('ELOOP')
  })
})
