import { chmod, chown, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { homePaths } from '../config/home-paths.ts'
import { prepareHome } from './prepare-home.ts'

const user = { name: 'worker', uid: 65_534, gid: 65_534 }

describe.runIf(process.getuid?.() === 0)('prepareHome as root', () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-home-'))
  })
  afterEach(() => rm(folder, { recursive: true }))
  const prepare = (home: string) =>
    prepareHome(homePaths({ home, environments: path.join(home, 'environments') }), user)

  it("gives the worker its two folders and keeps the others root's", async () => {
    const home = path.join(folder, 'home')
    await prepare(home)
    expect((await stat(path.join(home, 'spool'))).uid).toBe(user.uid)
    expect((await stat(path.join(home, 'credentials'))).mode & 0o777).toBe(0o700)
    await prepare(home)
  })

  it.each([
    ['belongs to uid 65534', () => chown(folder, user.uid, user.gid)],
    ['can be written by other users', () => chmod(folder, 0o1777)],
  ])('refuses a home that %s, and touches nothing', async (words, make) => {
    await make()
    const before = await stat(folder)
    await expect(prepare(folder)).rejects.toThrow(words)
    expect(await readdir(folder)).toEqual([])
    expect((await stat(folder)).mode).toBe(before.mode)
  })
})
