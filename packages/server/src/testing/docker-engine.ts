import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import Docker from 'dockerode'

const READY_MS = 30_000
const CGROUPS = '/sys/fs/cgroup'

/** What `TestEngine.start` may be told besides its defaults. */
export interface TestEngineOptions {
  /** More arguments of dockerd, for instance another address to listen at. */
  arguments?: readonly string[]
}

/** A real dockerd of its own: its data, its socket and its cgroups are nobody else's, and gone when it stops. */
export class TestEngine {
  readonly folder: string
  readonly socket: string
  readonly api: Docker
  readonly #process: ChildProcess
  readonly #cgroup: string
  #log = ''

  private constructor(folder: string, cgroup: string, options: TestEngineOptions) {
    this.folder = folder
    this.socket = path.join(folder, 'docker.sock')
    this.#cgroup = cgroup
    this.api = new Docker({ socketPath: this.socket })
    writeFileSync(path.join(folder, 'daemon.json'), '{}')
    this.#process = spawn('dockerd', [
      ...['--config-file', path.join(folder, 'daemon.json'), '--data-root', path.join(folder, 'data')],
      ...['--exec-root', path.join(folder, 'exec'), '--pidfile', path.join(folder, 'dockerd.pid')],
      ...['-H', `unix://${this.socket}`, '--group', 'root', '--bridge=none', '--iptables=false', '--ip6tables=false'],
      ...['--ip-forward=false', '--ip-masq=false', '--userland-proxy=false'],
      ...['--cgroup-parent', cgroup, '--exec-opt', 'native.cgroupdriver=cgroupfs', '--shutdown-timeout', '1'],
      ...(options.arguments ?? []),
    ])
    const keep = (chunk: Buffer) => (this.#log = (this.#log + chunk.toString('utf8')).slice(-16_000))
    this.#process.stderr?.on('data', keep)
    this.#process.stdout?.on('data', keep)
  }

  static async start(options: TestEngineOptions = {}): Promise<TestEngine> {
    // Below a folder that others may enter, as a socket of a real engine is.
    const folder = mkdtempSync(path.join(tmpdir(), 'ergon-engine-'))
    execFileSync('chmod', ['0755', folder])
    const engine = new TestEngine(folder, `/ergon-engine-${process.pid}-${path.basename(folder)}`, options)
    await engine.#untilReady()
    return engine
  }

  get url(): string {
    return `unix://${this.socket}`
  }

  get log(): string {
    return this.#log
  }

  /** Imports an image with busybox and its commands as links; gives its id. */
  async importBusybox(reference: string, changes: readonly string[] = []): Promise<string> {
    const root = mkdtempSync(path.join(this.folder, 'root-'))
    for (const folder of ['bin', 'tmp', 'etc']) mkdirSync(path.join(root, folder))
    cpSync('/bin/busybox', path.join(root, 'bin/busybox'))
    const commands = execFileSync('/bin/busybox', ['--list'], { encoding: 'utf8' }).trim().split('\n')
    for (const command of commands) if (command !== 'busybox') symlinkSync('busybox', path.join(root, 'bin', command))
    const archive = path.join(this.folder, 'image.tar')
    execFileSync('tar', ['-C', root, '-cf', archive, '.'])
    const [repo = '', tag = 'latest'] = reference.split(':')
    const stream = await this.api.importImage(archive, { repo, tag, changes: [...changes] })
    await new Promise<void>((resolve, reject) =>
      this.api.modem.followProgress(stream, (error) => (error === null ? resolve() : reject(error))),
    )
    rmSync(root, { recursive: true })
    return (await this.api.getImage(reference).inspect()).Id
  }

  /** What is on the engine besides images: containers in any state, and volumes. */
  async leftovers(): Promise<string[]> {
    const containers = await this.api.listContainers({ all: true })
    const { Volumes: volumes } = await this.api.listVolumes()
    return [
      ...containers.map(({ Id, Names, State }) => `container ${Names.join()} ${Id.slice(0, 12)} ${State}`),
      ...volumes.map(({ Name }) => `volume ${Name}`),
    ]
  }

  async stop(): Promise<void> {
    const containers = await this.api.listContainers({ all: true }).catch(() => [])
    for (const { Id } of containers)
      await this.api
        .getContainer(Id)
        .remove({ force: true, v: true })
        .catch(() => {})
    const exited = this.#process.exitCode === null ? once(this.#process, 'exit') : Promise.resolve()
    this.#process.kill('SIGTERM')
    await Promise.race([exited, sleep(15_000, undefined, { ref: false })])
    this.#process.kill('SIGKILL')
    for (const mount of mountsBelow(this.folder)) execFileSync('umount', ['--lazy', mount])
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    removeCgroups(this.#cgroup.slice(1))
  }

  async #untilReady(): Promise<void> {
    const deadline = performance.now() + READY_MS
    for (;;) {
      if (await this.api.ping().then(Boolean, () => false)) return
      if (this.#process.exitCode !== null || performance.now() > deadline) {
        const said = this.#log
        await this.stop()
        throw new Error(`dockerd does not answer: ${said}`)
      }
      await sleep(50)
    }
  }
}

/** Deepest first. */
function mountsBelow(folder: string): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[1] ?? '')
    .filter((mount) => mount.startsWith(`${folder}/`))
    .toReversed()
}

/** One group for each controller on cgroup v1, one in all on v2. */
function removeCgroups(name: string): void {
  const roots = [CGROUPS, ...readdirSync(CGROUPS).map((controller) => path.join(CGROUPS, controller))]
  for (const root of roots) removeGroup(path.join(root, name))
}

function removeGroup(folder: string): void {
  if (!existsSync(folder)) return
  for (const entry of readdirSync(folder, { withFileTypes: true }))
    if (entry.isDirectory()) removeGroup(path.join(folder, entry.name))
  rmdirSync(folder)
}
