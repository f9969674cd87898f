import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ErgonHome } from './ergon.ts'

/** What a home's processes have left on the machine: processes, mounts, cgroup leaves. Empty when all is well. */
function findLeftovers(home: ErgonHome): string[] {
  return [
    ...findProcesses(home.folder).map(({ pid, command }) => `process ${pid}: ${command}`),
    ...findMounts(home.folder),
    ...findSandboxes(home),
  ]
}

/** Waits until nothing is left, since the kernel takes its moment; gives what is left after `patienceMs`. */
export async function leftoversAfter(home: ErgonHome, patienceMs: number): Promise<string[]> {
  const deadline = performance.now() + patienceMs
  for (;;) {
    const left = findLeftovers(home)
    if (left.length === 0 || performance.now() > deadline) return left
    await sleep(50)
  }
}

export interface FoundProcess {
  pid: number
  command: string
}

/** Processes whose command line, environment or working folder names the data folder. */
export function findProcesses(folder: string, pattern = /(?:)/): FoundProcess[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .flatMap((pid) => {
      const command = read(`/proc/${pid}/cmdline`).replaceAll('\u0000', ' ')
      const names =
        command.includes(folder) ||
        read(`/proc/${pid}/environ`).includes(folder) ||
        workingFolder(pid).startsWith(folder)
      return names && pattern.test(command) ? [{ pid: Number(pid), command }] : []
    })
}

function findMounts(folder: string): string[] {
  return read('/proc/self/mounts')
    .split('\n')
    .filter((line) => line.includes(folder))
    .map((line) => `mount ${line}`)
}

/** The cgroup leaves of a home's sandboxes; sandboxd names their folder after its socket. */
export function findSandboxes(home: ErgonHome): string[] {
  const instance = instanceOf(home)
  if (instance === null) return []
  const found = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-path', `*/ergon/${instance}/*`], {
    encoding: 'utf8',
  })
  return found
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => `cgroup ${line}`)
}

/** Remembered, since the data folder may be gone when somebody asks what it has left. */
const instances = new Map<string, string>()

function instanceOf(home: ErgonHome): string | null {
  const run = path.dirname(home.paths.sandboxdSocket)
  const lock = existsSync(run) ? readdirSync(run).find((name) => /^sandboxd-[0-9a-f]+\.lock$/.test(name)) : undefined
  if (lock !== undefined) instances.set(home.folder, lock.slice('sandboxd-'.length, -'.lock'.length))
  return instances.get(home.folder) ?? null
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function workingFolder(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}
