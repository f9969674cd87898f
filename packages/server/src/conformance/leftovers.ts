import { type Dirent, existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import path from 'node:path'

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
  return foldersBelow('/sys/fs/cgroup').filter((folder) => folder.includes(`/ergon/${instance}/`))
}

/** Other people's cgroups come and go while this looks: what is gone has nothing below it. */
function foldersBelow(folder: string): string[] {
  return entriesOf(folder)
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => path.join(folder, name))
    .flatMap((child) => [child, ...foldersBelow(child)])
}

/** A folder's entries; none when it is gone, or never was. */
export function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
  } catch {
    return []
  }
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
