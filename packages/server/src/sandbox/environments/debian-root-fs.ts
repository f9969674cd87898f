import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { EnvironmentDefinition } from './environment-definition.ts'
import type { EnvironmentLock, LockedPackage } from './environment-lock.ts'
import { runContained, runTool } from './run-tool.ts'

/** Version of the stand-ins for omitted packages: higher than any real one, so that every dependency on them is met. */
const STAND_IN_VERSION = '9999~ergon'

/** What no program in a sandbox reads. py3compile is left out because the finished environment is compiled in one deterministic pass. */
const ALWAYS_EXCLUDED = [
  '/usr/share/doc/*',
  '/usr/share/man/*',
  '/usr/share/info/*',
  '/usr/share/locale/*',
  '/usr/share/lintian/*',
  '/usr/share/bug/*',
  '/usr/include/*',
  '/usr/lib/*.a',
  '/usr/bin/py3compile',
]
const STILL_INCLUDED = ['/usr/share/doc/*/copyright']

export interface DebianMirrors {
  main: string
  security: string
}

export interface DebianRootFsOptions {
  definition: EnvironmentDefinition
  /** An existing folder for this build alone; the root file system becomes its sub-folder `rootfs`. */
  buildDir: string
  mirrors: DebianMirrors
  /** Package versions to prefer over the newest ones. */
  pins: readonly LockedPackage[]
  sourceDateEpochS: number
  onProgress: (step: string) => void
}

/** Installs a definition's packages into `<buildDir>/rootfs`; returns what was installed, sorted by name. */
export async function installDebianRootFs(options: DebianRootFsOptions): Promise<LockedPackage[]> {
  const { definition, buildDir, mirrors } = options
  const rootFs = path.join(buildDir, 'rootfs')
  const standIns = path.join(buildDir, 'stand-ins')
  const catalogue = path.join(buildDir, 'catalogue')
  const pinsFile = path.join(buildDir, 'pins')
  await buildStandIns(definition.omit, standIns)
  await writeFile(
    pinsFile,
    options.pins.map((pin) => `Package: ${pin.name}\nPin: version ${pin.version}\nPin-Priority: 1001\n`).join('\n'),
  )

  const { suite } = definition
  const signed = '[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
  const argv = [
    'mmdebstrap',
    '--variant=essential',
    '--format=directory',
    '--mode=root',
    ...[...ALWAYS_EXCLUDED, ...definition.exclude].map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    ...STILL_INCLUDED.map((pattern) => `--dpkgopt=path-include=${pattern}`),
    `--setup-hook=mkdir -p "$1/etc/apt/preferences.d" && cp ${quote(pinsFile)} "$1/etc/apt/preferences.d/ergon"`,
    ...(definition.omit.length > 0
      ? [
          `--essential-hook=cp -r ${quote(standIns)} "$1/.stand-ins" && chroot "$1" sh -c 'dpkg -i /.stand-ins/*.deb' && rm -r "$1/.stand-ins"`,
        ]
      : []),
    // Asked of the build's own package lists, before mmdebstrap removes them: the only place that knows each package's digest.
    `--customize-hook=APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-cache dumpavail | grep -E '^(Package|Version|SHA256):|^$' > ${quote(catalogue)}`,
    `--include=${definition.packages.join(',')}`,
    suite,
    rootFs,
    `deb ${signed} ${mirrors.main} ${suite} main`,
    `deb ${signed} ${mirrors.main} ${suite}-updates main`,
    `deb ${signed} ${mirrors.security} ${suite}-security main`,
  ]
  const result = await runContained(argv, {
    env: {
      PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
      LC_ALL: 'C.UTF-8',
      SOURCE_DATE_EPOCH: String(options.sourceDateEpochS),
    },
    onLine: (line) => {
      const step = /^I: ((?:running apt-get update|downloading|extracting|installing|cleaning).*)$/.exec(line)?.[1]
      if (step !== undefined) options.onProgress(step.replace(/\.\.\.$/, ''))
    },
  })
  if (result.exitCode !== 0) {
    throw new ErgonError(
      'ENVIRONMENT_BUILD_FAILED',
      [
        `building the environment ${definition.name} failed: mmdebstrap ended with ${result.exitCode}; its last lines:`,
        ...result.tail.slice(-20),
        `Check that ${mirrors.main} can be reached and has the packages of the definition; ERGON_DEBIAN_MIRROR names another mirror.`,
      ].join('\n  '),
    )
  }
  return await listInstalled(rootFs, catalogue, definition)
}

/** The packages that a lock pins. */
export function pinsOf(lock: EnvironmentLock | undefined): readonly LockedPackage[] {
  return lock?.packages ?? []
}

async function buildStandIns(names: readonly string[], folder: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  for (const name of names) {
    const tree = path.join(folder, `.${name}`)
    await mkdir(path.join(tree, 'DEBIAN'), { recursive: true })
    // Whatever the umask is: dpkg-deb refuses a private folder.
    await chmod(path.join(tree, 'DEBIAN'), 0o755)
    const control = {
      Package: name,
      Version: STAND_IN_VERSION,
      Architecture: 'all',
      'Multi-Arch': 'foreign',
      Maintainer: 'Ergon',
      Description: 'stands in for a package that nothing needs at run time',
    }
    const lines = Object.entries(control).map(([key, value]) => `${key}: ${value}\n`)
    await writeFile(path.join(tree, 'DEBIAN', 'control'), lines.join(''))
    const built = await runTool(['dpkg-deb', '--root-owner-group', '--build', tree, path.join(folder, `${name}.deb`)], {
      env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' },
    })
    if (built.exitCode !== 0)
      throw new ErgonError(
        'ENVIRONMENT_BUILD_FAILED',
        `dpkg-deb could not build the stand-in for ${name}: ${built.tail.join('\n')}`,
      )
  }
}

async function listInstalled(
  rootFs: string,
  catalogue: string,
  definition: EnvironmentDefinition,
): Promise<LockedPackage[]> {
  const digests = new Map<string, string>()
  for (const paragraph of (await readFile(catalogue, 'utf8')).split('\n\n')) {
    const fields = readControlFields(paragraph)
    if (fields.Package && fields.Version && fields.SHA256)
      digests.set(`${fields.Package}=${fields.Version}`, fields.SHA256)
  }
  const status = await readFile(path.join(rootFs, 'var/lib/dpkg/status'), 'utf8')
  const omitted = new Set(definition.omit)
  return readDpkgStatus(status)
    .filter((pack) => !omitted.has(pack.name))
    .map((pack) => {
      const sha256 = digests.get(`${pack.name}=${pack.version}`)
      if (sha256 === undefined) {
        throw new ErgonError(
          'ENVIRONMENT_BUILD_FAILED',
          `the mirrors' lists hold no digest for the installed package ${pack.name} ${pack.version}`,
        )
      }
      return { ...pack, sha256 }
    })
}

/** The installed packages that a dpkg status file tells, sorted by name. */
export function readDpkgStatus(status: string): { name: string; version: string; architecture: string }[] {
  return status
    .split('\n\n')
    .map(readControlFields)
    .filter((fields) => fields.Status === 'install ok installed')
    .map((fields) => ({
      name: fields.Package ?? '',
      version: fields.Version ?? '',
      architecture: fields.Architecture ?? '',
    }))
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

function readControlFields(paragraph: string): Record<string, string> {
  const fields: Record<string, string> = {}
  for (const [, key = '', value = ''] of paragraph.matchAll(/^([A-Za-z0-9-]+): (.*)$/gm)) fields[key] = value
  return fields
}

/** Quotes a path for the shell that runs a hook. */
function quote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`
}
