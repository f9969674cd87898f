import { createHash, randomUUID } from 'node:crypto'
import { readFileSync, readlinkSync } from 'node:fs'
import { mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { IntervalLoop } from '../platform/process/interval-loop.ts'

const BEAT_MS = 60_000
/** A process that has not touched its folder for so long is gone, or has long lost what it was receiving. */
const SILENT_MS = 60 * 60_000
/** Folders of earlier versions are not touched while one long transfer is under way. */
const UNKNOWN_SILENT_MS = 24 * 60 * 60_000

/** `<host>-<pid>-<uuid>`. */
const NAME = /^([0-9a-f]{16})-(\d{1,10})-[0-9a-f-]{36}$/
/** Of earlier versions: a pid of nobody knows which machine. */
const OLD_NAME = /^(\d{1,10})-[0-9a-f-]{36}$/

interface ProcessSpoolOptions {
  /** A folder that could not be swept, or not be touched; both are tried again. */
  onError(error: unknown): void
}

/**
 * The folder of one process (worker or API) among those of others, which may run on other machines or in other containers
 * that share the volume. A pid says something only where it was given, so the name says where that was; everybody also
 * touches their folder each minute, and whoever's was left alone for an hour is taken for dead. No lock of a file: Node has
 * none but by a child process each, and which of them pass a network file system depends on how it is mounted.
 */
export class ProcessSpool {
  readonly folder: string
  readonly #root: string
  readonly #onError: (error: unknown) => void
  readonly #loop: IntervalLoop
  #isFirst = true

  constructor(root: string, { onError }: ProcessSpoolOptions) {
    this.#root = root
    this.folder = path.join(root, `${thisHost()}-${process.pid}-${randomUUID()}`)
    this.#onError = onError
    this.#loop = new IntervalLoop({ intervalMs: BEAT_MS, turn: () => this.#turnAgain(), onError })
  }

  /** Makes the folder and sweeps those of the dead, now and each minute. Throws when the spool cannot be used. */
  async start(): Promise<void> {
    await this.#turn()
    this.#loop.start()
  }

  /** Removes the folder. */
  async stop(): Promise<void> {
    await this.#loop.stop()
    await rm(this.folder, { recursive: true, force: true })
  }

  /** The loop begins where `start` has just been. */
  async #turnAgain(): Promise<void> {
    if (this.#isFirst) this.#isFirst = false
    else await this.#turn()
  }

  async #turn(): Promise<void> {
    const now = await this.#touch()
    for (const name of await readdir(this.#root)) {
      const folder = path.join(this.#root, name)
      if (folder === this.folder) continue
      try {
        const { mtimeMs } = await stat(folder)
        if (isAbandoned(name, now - mtimeMs)) await rm(folder, { recursive: true, force: true })
      } catch (error) {
        // Another sweeper was quicker, or it is not ours to remove: neither keeps us from the rest.
        if (!isGone(error)) this.#onError(error)
      }
    }
  }

  /** Gives the time of whoever keeps the files: clocks of machines differ, and only this one sets the times of all folders. */
  async #touch(): Promise<number> {
    const beat = path.join(this.folder, 'beat')
    await mkdir(beat, { recursive: true, mode: 0o700 })
    await rmdir(beat)
    return (await stat(this.folder)).mtimeMs
  }
}

function isAbandoned(name: string, silentMs: number): boolean {
  const [, host, pid] = NAME.exec(name) ?? []
  if (host !== undefined) return silentMs > SILENT_MS || (host === thisHost() && !isAlive(Number(pid)))
  const [, oldPid] = OLD_NAME.exec(name) ?? []
  return silentMs > UNKNOWN_SILENT_MS && (oldPid === undefined || !isAlive(Number(oldPid)))
}

let host: string | null = null

/** Where pids mean what they mean here: this boot of this machine and this pid namespace. */
function thisHost(): string {
  host ??= findHost()
  return host
}

function findHost(): string {
  let facts: string
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8')
    // The name too: a virtual machine that was copied while it ran has the boot of the other.
    facts = `${boot} ${readlinkSync('/proc/self/ns/pid')} ${os.hostname()}`
  } catch {
    // Nobody's pids are known to be those of here then, and silence alone tells.
    facts = randomUUID()
  }
  return createHash('sha256').update(facts).digest('hex').slice(0, 16)
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's process: it is alive, and not ours to judge.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

function isGone(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
