import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { findCommand } from './find-command.ts'
import { findFolder } from './find-folder.ts'
import { isPlainPath, resolveInRoot } from './root-path.ts'

let rootFs: string
/** Links of an environment, by their places in it: what a hostile or careless build could contain. */
const LINKS = {
  bin: 'usr/bin',
  'usr/bin/awk': '/etc/alternatives/awk',
  'etc/alternatives/awk': '/usr/bin/mawk',
  'usr/bin/out': '../../../../../../../../bin/sh',
  'usr/bin/absolute-out': '/root/secret',
  'usr/bin/workspace': '/workspace/input/evil',
  'usr/bin/proc': '/proc/self/exe',
  'usr/bin/loop': 'loop2',
  'usr/bin/loop2': 'loop',
  'usr/share/out': '/../../..',
  'usr/share/tmp': '/tmp',
}

beforeAll(() => {
  rootFs = mkdtempSync(path.join(tmpdir(), 'root-path-'))
  for (const folder of ['usr/bin', 'usr/share/data', 'usr/lib/ergon', 'etc/alternatives', 'tmp', 'workspace', 'closed'])
    mkdirSync(path.join(rootFs, folder), { recursive: true, mode: folder === 'closed' ? 0o700 : 0o755 })
  for (const [name, mode] of Object.entries({ sort: 0o755, mawk: 0o755, plain: 0o644, owner: 0o700 }))
    writeFileSync(path.join(rootFs, 'usr/bin', name), '#!/bin/sh\n', { mode })
  for (const [place, target] of Object.entries(LINKS)) symlinkSync(target, path.join(rootFs, place))
})
afterAll(() => rmSync(rootFs, { recursive: true }))

describe('resolveInRoot', () => {
  it.each([
    ['/usr/bin/sort', '/usr/bin/sort'],
    ['/bin/sort', '/usr/bin/sort'],
    ['/bin/awk', '/usr/bin/mawk'],
    ['/', '/'],
    ['/usr/share/out', '/'],
  ])('%s is %s', async (wanted, real) => {
    expect(await resolveInRoot(rootFs, wanted)).toMatchObject({ ok: true, path: real })
  })

  it.each([
    // ".." at the top stays there: it is the environment's own /bin/sh that is asked for, which is not there.
    ['/usr/bin/out', '/usr/bin/sh', 'does not exist'],
    ['/usr/bin/absolute-out', '/root', 'does not exist'],
    ['/usr/bin/workspace', '/workspace', 'is not part of the environment'],
    ['/usr/bin/proc', '/proc', 'is not part of the environment'],
    ['/usr/lib/ergon/init.py', '/usr/lib/ergon', 'is not part of the environment'],
    ['/usr/bin/loop', '/usr/bin/loop', 'circles'],
    ['/usr/bin/sort/x', '/usr/bin/sort/x', 'does not exist'],
  ])('%s leads nowhere, at %s', async (wanted, at, reason) => {
    expect(await resolveInRoot(rootFs, wanted)).toEqual({ ok: false, at, reason: expect.stringContaining(reason) })
  })
})

it.each([
  ['/usr/bin/sort', true],
  ['/', true],
  ['sort', false],
  ['', false],
  ['/usr/bin/../sbin/x', false],
  ['/usr//bin', false],
  ['/usr/./bin', false],
  ['/usr/bin/', false],
])('%j is a plain path: %j', (text, isPlain) => {
  expect(isPlainPath(text)).toBe(isPlain)
})

describe('findCommand', () => {
  const start = async (command: string, ...allowed: string[]) => {
    const found = await findCommand(rootFs, allowed, command)
    return found.ok ? 'ok' : found.failure.code
  }

  it.each([
    ['/usr/bin/sort', ['/usr/bin/sort'], 'ok'],
    // A link of a folder does not make another command of it, in either way round.
    ['/bin/sort', ['/usr/bin/sort'], 'ok'],
    ['/usr/bin/sort', ['/bin/sort'], 'ok'],
    ['/usr/bin/sort', [], 'COMMAND_NOT_ALLOWED'],
    ['/usr/bin/sort', ['/usr/bin/sor', '/usr/bin/sort2', '/usr/bin'], 'COMMAND_NOT_ALLOWED'],
    ['sort', ['sort', '/usr/bin/sort'], 'COMMAND_NOT_ALLOWED'],
    ['/usr/share/../bin/sort', ['/usr/bin/sort'], 'COMMAND_NOT_ALLOWED'],
    ['/usr/bin/awk', ['/usr/bin/awk'], 'COMMAND_NOT_ALLOWED'],
    ['/usr/bin/awk', ['/usr/bin/mawk'], 'COMMAND_NOT_ALLOWED'],
    ['/usr/bin/awk', ['/usr/bin/awk', '/usr/bin/mawk'], 'ok'],
    ['/usr/bin/plain', ['/usr/bin/plain'], 'COMMAND_NOT_FOUND'],
    ['/usr/bin/owner', ['/usr/bin/owner'], 'COMMAND_NOT_FOUND'],
    ['/usr/bin', ['/usr/bin'], 'COMMAND_NOT_FOUND'],
    ['/usr/bin/nothing', ['/usr/bin/nothing'], 'COMMAND_NOT_FOUND'],
    ['/usr/bin/out', ['/usr/bin/out'], 'COMMAND_NOT_FOUND'],
    ['/usr/bin/workspace', ['/usr/bin/workspace'], 'COMMAND_NOT_FOUND'],
    ['/workspace/input/evil', ['/workspace/input/evil'], 'COMMAND_NOT_FOUND'],
    ['/usr/bin/loop', ['/usr/bin/loop'], 'COMMAND_NOT_FOUND'],
  ])('%s where %j is allowed: %s', async (command, allowed, end) => {
    expect(await start(command, ...allowed)).toBe(end)
  })

  it('says which command a link leads to', async () => {
    const found = await findCommand(rootFs, ['/usr/bin/awk'], '/usr/bin/awk')
    expect(found).toMatchObject({
      failure: { message: expect.stringContaining('/usr/bin/awk is a link to /usr/bin/mawk, which') },
    })
  })
})

describe('findFolder', () => {
  it.each([
    [null, [], null, '/workspace'],
    ['/usr/share/data', [], null, '/usr/share/data'],
    [null, ['/usr/share', '/workspace'], '/usr/share/data', '/usr/share/data'],
    [null, ['/tmp'], '/tmp', '/tmp'],
    [null, [], '/tmp', null],
    [null, ['/usr/share'], null, null],
    [null, ['/usr/share'], '/usr/bin', null],
    [null, ['/usr/share'], '/usr/share/../bin', null],
    [null, ['/usr/share'], '/usr/share/out', null],
    [null, ['/usr/share'], '/usr/share/tmp', null],
    [null, ['/usr/sha'], '/usr/share', null],
    [null, ['/'], '/closed', null],
    [null, ['/'], '/usr/bin/sort', null],
    [null, ['/'], '/proc/1/cwd', null],
    [null, ['/'], '/workspace/other', null],
  ])(
    'of a service with %j, restricted to %j, a call that asks for %j starts in %j',
    async (stated, restrictions, asked, folder) => {
      const found = await findFolder(rootFs, { stated, restrictions }, asked)
      expect(found.ok ? found.folder : found.failure.code).toBe(folder ?? 'WORKING_DIRECTORY_NOT_ALLOWED')
    },
  )
})
