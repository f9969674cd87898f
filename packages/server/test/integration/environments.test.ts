import { execFile } from 'node:child_process'
import { lstat, readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { homePaths } from '../../src/config/home-paths.ts'
import { loadSettings } from '../../src/config/load-settings.ts'
import { readDpkgStatus } from '../../src/sandbox/environments/debian-root-fs.ts'
import { resolveEnvironment } from '../../src/sandbox/environments/installed-environments.ts'

/** The environment that set-up built: not another build, which would take a minute. */
const { settings } = loadSettings(process.env)
const environment = await resolveEnvironment(homePaths(settings).environments, 'python-sci')
const { rootFs, lock } = environment

test('no file gives privilege, and all belong to root or a system group', async () => {
  const { stdout } = await promisify(execFile)('find', [
    rootFs,
    '-perm',
    '/6000',
    '-o',
    '!',
    '-uid',
    '0',
    '-printf',
    '%p\n',
  ])
  expect(stdout).toBe('')
})

test.each(['workspace', 'tmp', 'proc', 'dev', 'sys', 'run', 'usr/lib/ergon'])(
  '/%s is an empty folder to mount over',
  async (name) => {
    expect((await lstat(path.join(rootFs, name))).isDirectory()).toBe(true)
    expect(await readdir(path.join(rootFs, name))).toEqual([])
  },
)

test('the lock is what dpkg says, less the stand-ins', async () => {
  const installed = readDpkgStatus(await readFile(path.join(rootFs, 'var/lib/dpkg/status'), 'utf8'))
  const real = installed.filter((pack) => !pack.version.startsWith('9999'))
  expect(lock.packages.map(({ name, version, architecture }) => ({ name, version, architecture }))).toEqual(real)
  expect(installed.length - real.length).toBe(lock.omitted.length)
  expect(lock.env_version).toBe(`python-sci@${lock.archive.sha256}`)
})

test('nothing tells of the machine that built it', async () => {
  expect(await readFile(path.join(rootFs, 'etc/hostname'), 'utf8')).toBe('sandbox\n')
  expect(await readFile(path.join(rootFs, 'etc/resolv.conf'), 'utf8')).toMatch(/^nameserver 192\.0\.2\.1\n/)
  for (const name of ['etc/shadow', 'etc/machine-id', 'var/lib/apt'])
    await expect(lstat(path.join(rootFs, name))).rejects.toThrow('ENOENT')
})

test('a user is there for the sandbox', async () => {
  expect(await readFile(path.join(rootFs, 'etc/passwd'), 'utf8')).toContain('\nsandbox:x:1000:1000:')
})

test('the list of fonts names fonts that are there', async () => {
  const folder = path.join(rootFs, 'usr/share/ergon/matplotlib')
  const [name = ''] = await readdir(folder)
  const list = JSON.parse(await readFile(path.join(folder, name), 'utf8')) as { ttflist: { fname: string }[] }
  expect(list.ttflist.length).toBeGreaterThan(20)
  const data = path.join(rootFs, 'usr/share/matplotlib/mpl-data')
  for (const font of list.ttflist)
    await lstat(font.fname.startsWith('/') ? path.join(rootFs, font.fname) : path.join(data, font.fname))
})

test('every module is compiled, so that a start writes nothing', async () => {
  const compiled = await readdir(path.join(rootFs, 'usr/lib/python3/dist-packages/numpy/__pycache__'))
  const sources = (await readdir(path.join(rootFs, 'usr/lib/python3/dist-packages/numpy'))).filter((name) =>
    name.endsWith('.py'),
  )
  expect(compiled).toHaveLength(sources.length)
})

test('every compiled Python module is valid whatever the time of its source', async () => {
  const { stdout } = await promisify(execFile)('find', [path.join(rootFs, 'usr/lib'), '-name', '*.pyc'], {
    maxBuffer: 1 << 24,
  })
  const files = stdout.split('\n').filter((file) => file !== '')
  expect(files.length).toBeGreaterThan(1_000)
  const stale: string[] = []
  for (const file of files) {
    const header = (await readFile(file)).subarray(0, 8)
    // PEP 552: flag 1 is hash-based, flag 2 would have the source read and hashed at each import.
    if (header.readUInt32LE(4) !== 1) stale.push(file)
  }
  expect(stale).toEqual([])
})
