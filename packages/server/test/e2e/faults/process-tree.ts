import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
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
  // One that has none is ending.
  const least = Math.min(...[...sockets.values()].filter((count) => count > 0))
  return handlers.filter((pid) => (sockets.get(pid) ?? 0) > least)
}

/** What handlers have started or inherited for jobs; a keeper's template is not among it. */
export function findJobProcesses({ handlers }: SandboxdProcesses): string[] {
  return handlers
    .flatMap(childrenOf)
    .map(commandOf)
    .filter((command) => !/template_|\/usr\/lib\/ergon\/launcher\.py/.test(command))
}

/** Those that it has open now: it opens and closes descriptors while they are counted. */
function countSockets(pid: number): number {
  const folder = `/proc/${pid}/fd`
  const names = unlessGone(() => readdirSync(folder)) ?? []
  return names.filter((name) => unlessGone(() => readlinkSync(`${folder}/${name}`))?.startsWith('socket:')).length
}

function unlessGone<T>(look: () => T): T | null {
  try {
    return look()
  } catch {
    return null
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

export interface TemplateProcesses {
  keeper: number
  launcher: number
  template: number
}

/** The newest template that a keeper has: its container's PID 1 and that one's first child. */
export function findTemplate({ handlers }: SandboxdProcesses): TemplateProcesses | null {
  for (const keeper of handlers) {
    const launcher = descendantsOf(keeper).findLast(
      ({ pid, command }) => isOfTemplate(command) && levelsOf(pid) === TEMPLATE_LEVEL && pidsOf(pid).at(-1) === '1',
    )
    const template = childrenOf(launcher?.pid ?? 0).find((pid) => levelsOf(pid) === TEMPLATE_LEVEL)
    if (launcher !== undefined && template !== undefined) return { keeper, launcher: launcher.pid, template }
  }
  return null
}

/** PID 1 of the warm child that a handler has taken: the handler watches it, and the template that it came of. */
export function findTakenInit(handler: number): number | null {
  return watchedBy(handler).find((pid) => levelsOf(pid) > TEMPLATE_LEVEL) ?? null
}

/** The children of templates that wait for a job, by their inits. */
export function findReadyInits({ handlers }: SandboxdProcesses): number[] {
  const below = new Map(handlers.map((pid) => [pid, descendantsOf(pid).filter(({ command }) => isOfTemplate(command))]))
  const taken = new Set(handlers.filter((pid) => below.get(pid)?.length === 0).flatMap(watchedBy))
  return [...below.values()]
    .flat()
    .map(({ pid }) => pid)
    .filter((pid) => levelsOf(pid) > TEMPLATE_LEVEL && pidsOf(pid).at(-1) === '1' && !taken.has(pid))
}

/** PID namespaces: the host's, sandboxd's, the template's; a child has one more. */
const TEMPLATE_LEVEL = 3

function isOfTemplate(command: string): boolean {
  return command.includes('/usr/lib/ergon/launcher.py')
}

/** The pid in every PID namespace that a process is in, the outermost first. */
function pidsOf(pid: number): string[] {
  return (/^NSpid:\s+(.*)$/m.exec(read(`/proc/${pid}/status`))?.[1] ?? '').split(/\s+/).filter(Boolean)
}

function levelsOf(pid: number): number {
  return pidsOf(pid).length
}

/** The processes that one holds a pidfd of. */
function watchedBy(pid: number): number[] {
  const fds = existsSync(`/proc/${pid}/fdinfo`) ? readdirSync(`/proc/${pid}/fdinfo`) : []
  return fds.flatMap((fd) => {
    const watched = Number(/^Pid:\s+(\d+)/m.exec(read(`/proc/${pid}/fdinfo/${fd}`))?.[1] ?? 0)
    return watched > 0 ? [watched] : []
  })
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
