import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import type { ErgonHome } from '../ergon.ts'
import { findProcesses } from '../leftovers.ts'

/** The processes of one running sandboxd, found by kinship: they are forks of each other and look alike. */
export interface SandboxdProcesses {
  outer: number
  acceptLoop: number
  handlers: number[]
}

export function findSandboxd(home: ErgonHome): SandboxdProcesses {
  const all = new Set(findProcesses(home.folder, /run\.py .*--socket/).map(({ pid }) => pid))
  const outer = [...all].find((pid) => !all.has(parentOf(pid)))
  const [acceptLoop] = outer === undefined ? [] : childrenOf(outer)
  if (outer === undefined || acceptLoop === undefined) throw new Error('no sandboxd runs')
  return { outer, acceptLoop, handlers: childrenOf(acceptLoop) }
}

/** The children of the accept loop that hold more sockets than one that waits for a connection: they serve one, or keep a template. */
export function findBusy({ handlers }: SandboxdProcesses): number[] {
  const sockets = new Map(handlers.map((pid) => [pid, countSockets(pid)]))
  const least = Math.min(...sockets.values())
  return handlers.filter((pid) => (sockets.get(pid) ?? 0) > least)
}

/** What handlers have started or inherited for jobs; a keeper's template is not among it. */
export function findJobProcesses({ handlers }: SandboxdProcesses): string[] {
  return handlers
    .flatMap(childrenOf)
    .map(commandOf)
    .filter((command) => !/template-|\/usr\/lib\/ergon\/launcher\.py/.test(command))
}

function countSockets(pid: number): number {
  try {
    const names = readdirSync(`/proc/${pid}/fd`)
    return names.filter((name) => readlinkSync(`/proc/${pid}/fd/${name}`).startsWith('socket:')).length
  } catch {
    return 0
  }
}

/** Every process below one, parents first. */
function descendantsOf(pid: number): { pid: number; command: string }[] {
  return childrenOf(pid).flatMap((child) => [{ pid: child, command: commandOf(child) }, ...descendantsOf(child)])
}

/** The OCI runtime below a handler, the one that it started. */
export function findRuntime(handler: number): number | null {
  return childrenOf(handler).find((pid) => /^\S*(crun|runc) /.test(commandOf(pid))) ?? null
}

/** PID 1 of the sandbox below a handler; the job, its fork, has the same command line and comes after it. */
export function findInit(handler: number): number | null {
  return descendantsOf(handler).find(({ command }) => command.includes('/usr/lib/ergon/init.py'))?.pid ?? null
}

function childrenOf(pid: number): number[] {
  return read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean).map(Number)
}

function commandOf(pid: number): string {
  return read(`/proc/${pid}/cmdline`).replaceAll('\u0000', ' ')
}

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0)
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
