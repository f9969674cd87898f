import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmod, chown, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FilesystemArtifactStore } from '../artifacts/filesystem-store.ts'
import { shareArtifactFolder } from './artifact-folder.ts'

const worker = { name: 'worker', uid: 64_001, gid: 64_001 }
const api = { name: 'api', uid: 64_002, gid: 64_002 }
const stranger = { name: 'stranger', uid: 64_003, gid: 64_003 }
const digestOf = (bytes: string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

describe.runIf(process.getuid?.() === 0)('the artifact folder of worker and API', () => {
  let home = ''
  let folder = ''
  beforeEach(async () => {
    home = await mkdtemp(path.join(os.tmpdir(), 'ergon-share-'))
    await chmod(home, 0o711)
    folder = path.join(home, 'artifacts')
  })
  afterEach(() => rm(home, { recursive: true }))

  /** Whether a shell of that user could do it, without any other group. */
  const can = ({ uid, gid }: typeof worker, script: string, ...parameters: string[]) =>
    spawnSync('/bin/sh', ['-euc', script, 'sh', ...parameters], { uid, gid, cwd: '/', encoding: 'utf8' }).status === 0
  const pathOf = (bytes: string) => new FilesystemArtifactStore(folder).pathOf(digestOf(bytes))
  /** As the store does it: beside its place, read-only, then linked. */
  const add = (user: typeof worker, bytes: string) =>
    can(
      user,
      'umask 022; printf %s "$2" >"$1.tmp"; chmod 0444 "$1.tmp"; ln "$1.tmp" "$1"; rm "$1.tmp"',
      pathOf(bytes),
      bytes,
    )
  const modeOf = async (file: string) => ((await stat(file)).mode & 0o7777).toString(8)

  it('takes what both add, lets both read, and lets the API take nothing away', async () => {
    shareArtifactFolder(folder, worker, api)
    expect([add(worker, "worker's"), add(api, "api's"), add(stranger, "stranger's")]).toEqual([true, true, false])
    for (const bytes of ["worker's", "api's"])
      for (const user of [worker, api])
        expect([bytes, user.name, can(user, 'cat "$1"', pathOf(bytes))]).toEqual([bytes, user.name, true])
    expect(can(stranger, 'cat "$1"', pathOf("worker's"))).toBe(false)

    const file = pathOf("worker's")
    const below = path.dirname(file)
    for (const [what, script] of [
      ['remove', 'rm -f "$1"'],
      ['replace', 'echo x >"$1.new"; mv -f "$1.new" "$1"'],
      ['move', 'mv "$1" "$1.moved"'],
      ['write', 'echo x >>"$1"'],
      ['truncate', 'truncate -s 0 "$1"'],
      ['make writable', 'chmod 0666 "$1"'],
      ['remove its folder', 'rm -rf "$2"; [ ! -e "$1" ]'],
      ['move its folder', 'mv "$2" "$2.moved"'],
      ['open its folder', 'chmod 0777 "$2"'],
      ['move all folders', 'mv "$3/sha256" "$3/moved"'],
      ['close the store', 'chmod 0700 "$3"'],
    ] as const)
      expect([what, can(api, script, file, below, folder)]).toEqual([what, false])
    expect(await readFile(file, 'utf8')).toBe("worker's")
    // Pruning is the worker's.
    expect(can(worker, 'rm -f "$1"', pathOf("api's"))).toBe(true)
  })

  it('is opened where an earlier version had it closed, and nothing is done twice', async () => {
    const file = pathOf('old')
    await mkdir(path.dirname(file), { recursive: true, mode: 0o755 })
    await writeFile(file, 'old', { mode: 0o444 })
    for (const each of [folder, path.join(folder, 'sha256'), path.dirname(file), file])
      await chown(each, worker.uid, worker.gid)
    await chmod(folder, 0o700)
    expect(can(api, 'cat "$1"', file)).toBe(false)
    shareArtifactFolder(folder, worker, api)
    expect([can(api, 'cat "$1"', file), add(api, 'new'), add(worker, 'newer')]).toEqual([true, true, true])
    const before = await stat(path.dirname(file))
    shareArtifactFolder(folder, worker, api)
    expect((await stat(path.dirname(file))).ctimeMs).toBe(before.ctimeMs)
    expect(await readdir(path.join(folder, 'sha256'))).toHaveLength(256)
    for (const each of [folder, path.join(folder, 'sha256'), path.dirname(file)])
      expect(await modeOf(each)).toBe('3770')
  })

  it.each(['sha256', 'sha256/3f'])(
    'gives nothing away where the worker put a link in the place of %s',
    async (name) => {
      const elsewhere = path.join(home, 'elsewhere')
      await mkdir(elsewhere, { mode: 0o700 })
      await mkdir(path.join(folder, path.dirname(name)), { recursive: true })
      await symlink(elsewhere, path.join(folder, name))
      expect(() => shareArtifactFolder(folder, worker, api)).toThrow(/ENOTDIR|ELOOP/)
      expect([(await stat(elsewhere)).uid, await modeOf(elsewhere)]).toEqual([0, '700'])
      expect(await readdir(elsewhere)).toEqual([])
    },
  )
})
