import { mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { StagedFileSweep } from './staged-files.ts'

const HOUR_MS = 3_600_000
const STAGED = [`${'a'.repeat(64)}.4711.k3j5h2.tmp`, `${'b'.repeat(64)}.12.tmp`]

let artifacts = ''
beforeEach(async () => {
  artifacts = await mkdtemp(path.join(os.tmpdir(), 'ergon-staged-'))
})
afterEach(() => rm(artifacts, { recursive: true }))

async function write(folder: string, name: string, ageMs: number): Promise<void> {
  await mkdir(path.join(artifacts, 'sha256', folder), { recursive: true })
  const file = path.join(artifacts, 'sha256', folder, name)
  await writeFile(file, 'data')
  const at = new Date(Date.now() - ageMs)
  await utimes(file, at, at)
}

async function sweepAll(): Promise<number> {
  const sweep = new StagedFileSweep(artifacts)
  let removed = 0
  for (let turn = 0; turn < 256; turn++) removed += await sweep.turn()
  return removed
}

it('removes what was staged more than a day ago, in every folder, and nothing else', async () => {
  for (const folder of ['00', 'a7', 'ff']) {
    for (const name of STAGED) await write(folder, name, 25 * HOUR_MS)
    await write(folder, `${'c'.repeat(64)}.4711.k3j5h2.tmp`, 23 * HOUR_MS)
    await write(folder, 'd'.repeat(64), 1_000 * HOUR_MS)
    await write(folder, 'notes.tmp', 1_000 * HOUR_MS)
    await mkdir(path.join(artifacts, 'sha256', folder, `${'e'.repeat(64)}.1.tmp`))
    await symlink('/etc/hostname', path.join(artifacts, 'sha256', folder, `${'f'.repeat(64)}.1.tmp`))
  }
  expect(await sweepAll()).toBe(6)
  for (const folder of ['00', 'a7', 'ff'])
    expect((await readdir(path.join(artifacts, 'sha256', folder))).toSorted()).toEqual([
      `${'c'.repeat(64)}.4711.k3j5h2.tmp`,
      'd'.repeat(64),
      `${'e'.repeat(64)}.1.tmp`,
      `${'f'.repeat(64)}.1.tmp`,
      'notes.tmp',
    ])
})

it('finds nothing in a store in which nothing was stored', async () => {
  expect(await sweepAll()).toBe(0)
})
