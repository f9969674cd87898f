import { chmod, lstat, lutimes, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { EnvironmentDefinition } from './environment-definition.ts'
import { runContained } from './run-tool.ts'

/** Folders that the sandbox mounts over, or that sandboxd puts files into. */
const MOUNT_POINTS = ['workspace', 'tmp', 'proc', 'dev', 'sys', 'run', 'usr/lib/ergon']

/** What differs from build to build, or tells about the machine that built it, or serves only a running system. */
const REMOVED = [
  'etc/apt',
  'etc/machine-id',
  'etc/shadow',
  'etc/shadow-',
  'etc/gshadow',
  'etc/gshadow-',
  'etc/passwd-',
  'etc/group-',
  'etc/subuid',
  'etc/subgid',
  'etc/subuid-',
  'etc/subgid-',
  'etc/.pwd.lock',
  'var/lib/apt',
  'var/lib/dpkg/info',
  'var/lib/dpkg/lock',
  'var/lib/dpkg/lock-frontend',
  'var/lib/dpkg/available',
  'var/lib/dpkg/status-old',
  'var/lib/dpkg/diversions-old',
  'var/lib/dpkg/statoverride-old',
  'boot',
  'media',
  'mnt',
  'srv',
  'home',
]
const EMPTIED = ['dev', 'proc', 'sys', 'run', 'tmp', 'root', 'var/cache', 'var/log', 'var/tmp']

/** 192.0.2.1 is reserved for documentation: no resolver is there, but a look-up becomes a packet that the kernel counts as refused. */
const FILES: Record<string, string> = {
  'etc/resolv.conf': 'nameserver 192.0.2.1\noptions timeout:1 attempts:1\n',
  // Its own name is found without a look-up, which would count as an attempt to reach the network.
  'etc/hosts': '127.0.0.1 localhost sandbox\n::1 localhost sandbox\n',
  'etc/hostname': 'sandbox\n',
}

export interface FinishOptions {
  rootFs: string
  definition: EnvironmentDefinition
  sourceDateEpochS: number
  onProgress: (step: string) => void
}

/** Turns an installed root file system into an environment: nothing that gives privilege, nothing that differs between two builds. */
export async function finishRootFs(options: FinishOptions): Promise<void> {
  const { rootFs, definition, onProgress } = options
  await removeWhatVaries(rootFs)
  await writeSystemFiles(rootFs)
  onProgress('compiling Python modules')
  await compilePython(rootFs)
  if (definition.font_cache === 'matplotlib') {
    onProgress("building matplotlib's list of fonts")
    await buildFontList(rootFs)
  }
  await normaliseTree(rootFs, options.sourceDateEpochS)
}

async function removeWhatVaries(rootFs: string): Promise<void> {
  for (const name of REMOVED) await rm(path.join(rootFs, name), { recursive: true, force: true })
  for (const name of EMPTIED) {
    const folder = path.join(rootFs, name)
    for (const entry of await readdir(folder)) await rm(path.join(folder, entry), { recursive: true })
  }
}

async function writeSystemFiles(rootFs: string): Promise<void> {
  for (const name of MOUNT_POINTS) await makeFolder(path.join(rootFs, name))
  for (const [name, text] of Object.entries(FILES)) await replaceFile(path.join(rootFs, name), text)
  await appendLine(path.join(rootFs, 'etc/passwd'), 'sandbox:x:1000:1000:sandbox:/workspace:/bin/sh')
  await appendLine(path.join(rootFs, 'etc/group'), 'sandbox:x:1000:')
}

/** Hash-based and unchecked, so that neither the bytes nor the validity of a .pyc depends on a file's time. */
async function compilePython(rootFs: string): Promise<void> {
  const libraries = path.join(rootFs, 'usr/lib')
  const folders = (await readdir(libraries)).filter((name) => /^python3(\.\d+)?$/.test(name)).toSorted()
  for (const name of folders) await removePycFolders(path.join(libraries, name))
  await runInside(rootFs, 'compiling Python modules', [
    '/usr/bin/python3',
    '-I',
    // Or the compiler's own imports would leave ordinary .pyc files, which are stale once times are made equal.
    '-B',
    '-m',
    'compileall',
    '-q',
    '-f',
    '--invalidation-mode',
    'unchecked-hash',
    ...folders.map((name) => `/usr/lib/${name}`),
  ])
}

async function removePycFolders(folder: string): Promise<void> {
  for (const entry of await readdir(folder, {
    withFileTypes: true,
    recursive: true,
  })) {
    if (entry.isDirectory() && entry.name === '__pycache__')
      await rm(path.join(entry.parentPath, entry.name), { recursive: true })
  }
}

const FONT_LIST_FOLDER = 'usr/share/ergon/matplotlib'

/** matplotlib finds fonts in the order of a set; sorted by file, the list is the same on each build. */
async function buildFontList(rootFs: string): Promise<void> {
  const folder = path.join(rootFs, FONT_LIST_FOLDER)
  await makeFolder(path.dirname(folder))
  await makeFolder(folder)
  await runInside(rootFs, "building matplotlib's list of fonts", [
    '/usr/bin/python3',
    '-B',
    '-c',
    'import matplotlib.font_manager',
  ])
  let lists = 0
  for (const name of await readdir(folder)) {
    const file = path.join(folder, name)
    if (!/^fontlist-v\d+\.json$/.test(name)) {
      await rm(file, { recursive: true })
      continue
    }
    const list = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>
    for (const key of ['ttflist', 'afmlist']) {
      const fonts = list[key]
      if (!Array.isArray(fonts))
        throw new ErgonError('ENVIRONMENT_BUILD_FAILED', `matplotlib wrote a font list without ${key}: ${name}`)
      list[key] = fonts
        .map((font) => JSON.stringify(font))
        .toSorted()
        .map((font) => JSON.parse(font) as unknown)
    }
    await replaceFile(file, JSON.stringify(list))
    lists++
  }
  if (lists === 0)
    throw new ErgonError(
      'ENVIRONMENT_BUILD_FAILED',
      'matplotlib wrote no list of fonts; does the definition install python3-matplotlib?',
    )
}

/** Runs a program of the environment as root in a chroot: its packages are as trusted as those of the host. */
async function runInside(rootFs: string, what: string, argv: string[]): Promise<void> {
  const result = await runContained(['chroot', rootFs, ...argv], {
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      LC_ALL: 'C.UTF-8',
      HOME: '/nonexistent',
      PYTHONHASHSEED: '0',
      MPLCONFIGDIR: `/${FONT_LIST_FOLDER}`,
      MPLBACKEND: 'Agg',
    },
  })
  if (result.exitCode !== 0) {
    throw new ErgonError(
      'ENVIRONMENT_BUILD_FAILED',
      [`${what} failed with ${result.exitCode}; its last lines:`, ...result.tail.slice(-20)].join('\n  '),
    )
  }
}

/** Owner root, no set-user-id, no set-group-id, one time for all. */
async function normaliseTree(rootFs: string, timeS: number): Promise<void> {
  const entries = await readdir(rootFs, {
    withFileTypes: true,
    recursive: true,
  })
  for (const entry of entries) {
    const file = path.join(entry.parentPath, entry.name)
    if (!entry.isSymbolicLink()) {
      const { mode } = await lstat(file)
      if ((mode & 0o6000) !== 0) await chmod(file, mode & 0o1777)
    }
    await lutimes(file, timeS, timeS)
  }
  await chmod(rootFs, 0o755)
  await lutimes(rootFs, timeS, timeS)
}

/** Modes are set, not asked for: the umask of whoever builds is no part of an environment. */
async function makeFolder(folder: string): Promise<void> {
  if ((await mkdir(folder, { recursive: true })) !== undefined) await chmod(folder, 0o755)
}

async function replaceFile(file: string, text: string): Promise<void> {
  await rm(file, { force: true, recursive: true })
  await writeFile(file, text, { flag: 'wx' })
  await chmod(file, 0o644)
}

async function appendLine(file: string, line: string): Promise<void> {
  await replaceFile(file, `${await readFile(file, 'utf8')}${line}\n`)
}
