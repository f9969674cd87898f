import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ErgonHome } from './ergon.ts'

/** What a home's processes have left on the machine: processes, mounts, cgroup leaves. Empty when all is well. */
export function findLeftovers(home: ErgonHome): string[] {
  return [...findProcesses(home.folder).map(({ pid, command }) => `process ${pid}: ${command}`), ...findMounts(home.folder), ...findLeaves(home)]
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
      const names = command.includes(folder) || read(`/proc/${pid}/environ`).includes(folder) || workingFolder(pid).startsWith(folder)
      return names && pattern.test(command) ? [{ pid: Number(pid), command }] : []
    })
}

function findMounts(folder: string): string[] {
  return read('/proc/self/mounts')
    .split('\n')
    .filter((line) => line.includes(folder))
    .map((line) => `mount ${line}`)
}

/** sandboxd names its cgroup folder after its socket; a leaf below it is a sandbox. */
function findLeaves(home: ErgonHome): string[] {
  if (!existsSync('/sys/fs/cgroup/memory/ergon') && !existsSync('/sys/fs/cgroup/ergon')) return []
  const instance = readdirSync(path.dirname(home.paths.sandboxdSocket)).find((name) => /^sandboxd-[0-9a-f]+\.lock$/.test(name))?.slice('sandboxd-'.length, -'.lock'.length)
  if (instance === undefined) return []
  const found = execFileSync('find', ['/sys/fs/cgroup', '-type', 'd', '-path', `*/ergon/${instance}/*`], { encoding: 'utf8' })
  return found.split('\n').filter((line) => line !== '').map((line) => `cgroup ${line}`)
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
