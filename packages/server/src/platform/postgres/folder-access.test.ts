import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { firstClosedFolder } from './folder-access.ts'

const stranger = { name: 'stranger', uid: 4_000_001, gid: 4_000_001 }
let root: string

beforeEach(async () => {
  root = await mkdtemp(path.join(os.tmpdir(), 'ergon-access-'))
  await chmod(root, 0o711)
  await mkdir(path.join(root, 'a/b'), { recursive: true })
})
afterEach(() => rm(root, { recursive: true }))

it('finds nothing where everybody may pass', async () => {
  expect(await firstClosedFolder(path.join(root, 'a/b'), stranger)).toBeNull()
})

it('names the outermost folder that is closed', async () => {
  await chmod(path.join(root, 'a/b'), 0o700)
  await chmod(path.join(root, 'a'), 0o700)
  expect(await firstClosedFolder(path.join(root, 'a/b'), stranger)).toBe(path.join(root, 'a'))
})

it('lets the owner pass', async () => {
  await chmod(path.join(root, 'a'), 0o700)
  const owner = { name: 'owner', uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 }
  expect(await firstClosedFolder(path.join(root, 'a/b'), owner)).toBeNull()
})
