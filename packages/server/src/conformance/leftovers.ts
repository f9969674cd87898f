import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface FoundProcess {
  pid: number
  command: string
}

/** Processes whose command line, environment or working folder names the data folder. */
export function findProcesses(folder: string, pattern = /(?:)/): FoundProcess[] {
  return processIds()
    .filter((pid) => pid !== process.pid)
    .flatMap((pid) => {
      const command = readText(`/proc/${pid}/cmdline`).replaceAll('\u0000', ' ')
      const names =
        command.includes(folder) ||
        readText(`/proc/${pid}/environ`).includes(folder) ||
        workingFolder(pid).startsWith(folder)
      return names && pattern.test(command) ? [{ pid, command }] : []
    })
}

/** Every process below one, however deep. */
export function findDescendants(root: number): number[] {
  const childrenOf = new Map<number, number[]>()
  for (const pid of processIds()) {
    const parent = parentOf(pid)
    childrenOf.set(parent, [...(childrenOf.get(parent) ?? []), pid])
  }
  const below = (pid: number): number[] => (childrenOf.get(pid) ?? []).flatMap((child) => [child, ...below(child)])
  return below(root)
}

export function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`))?.[1] ?? 0)
}

/** The mounts that a process sees at or of one of the folders; an absent process sees none. */
export function findMounts(folders: readonly string[], pid: number | 'self' = 'self'): string[] {
  return readText(`/proc/${pid}/mounts`)
    .split('\n')
    .filter((line) => folders.some((folder) => line.includes(folder)))
}

/** The name that sandboxd's cgroups have on this machine: it makes it of its socket's. Null before its first start. */
export function instanceOf(runFolder: string): string | null {
  const names = existsSync(runFolder) ? readdirSync(runFolder) : []
  const lock = names.find((name) => /^sandboxd-[0-9a-f]+\.lock$/.test(name))
  return lock?.slice('sandboxd-'.length, -'.lock'.length) ?? null
}

/** The cgroup leaves of an instance's sandboxes, in every hierarchy. */
export function findLeaves(instance: string): string[] {
  const args = ['/sys/fs/cgroup', '-type', 'd', '-path', `*/ergon/${instance}/*`]
  return execFileSync('find', args, { encoding: 'utf8' })
    .split('\n')
    .filter((line) => line !== '')
}

/** A file's text; empty when it is gone, as those of processes often are. */
export function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}

function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
}

function workingFolder(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`)
  } catch {
    return ''
  }
}
