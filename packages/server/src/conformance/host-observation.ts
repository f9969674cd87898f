import { lstatSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import type { HomePaths } from '../config/home-paths.ts'
import {
  entriesOf,
  findDescendants,
  findLeaves,
  findMounts,
  findProcesses,
  instanceOf,
  parentOf,
  readText,
} from './leftovers.ts'

const WORKER_MEMORY_LIMIT_KB = 256 * 1024
/** sandboxd's lowest uid, for templates and their jobs: nothing else on a machine has one so high. */
const FIRST_SANDBOX_UID = 1 << 29
/** A job's connection, a probe's, and the last one's, whose sandbox is being removed, beside the two that sandboxd keeps ready. */
const MOST_WAITING = 5
/** Where everybody may write, so where a file of a sandbox's owner could be. */
const OPEN_FOLDERS = ['/tmp', '/var/tmp', '/dev/shm', '/run/lock']

/** What one look at the host saw of a running stack. */
export interface Observation {
  /** Process ids; 0 is none. */
  worker: number
  sandboxd: number
  workerMemoryKb: number
  /** What a job must give back; a stack at rest may have some of each. */
  counts: Readonly<Record<string, number>>
  /** What no program may change. */
  facts: Readonly<Record<string, string>>
}

/** Looks at processes, cgroups, mounts, files and kernel settings. `rootFs` is the environment that jobs share. */
export function observeHost(paths: HomePaths, rootFs: string): Observation {
  const instance = instanceOf(paths.run) ?? 'none'
  const workers = findProcesses(paths.home, /worker-process\.js/).map(({ pid }) => pid)
  const worker = workers.at(-1) ?? 0
  const sandboxd = findSandboxd(paths.sandboxdSocket)
  const below = sandboxd === 0 ? [] : findDescendants(sandboxd)
  // The waiting process keeps the host's view; the accept loop is its one child.
  const acceptLoop = below[0] ?? 0
  const waiting = below.filter((pid) => isWaitingHandler(pid, acceptLoop)).length
  const state = path.join('/run/ergon-sandboxd', instance)
  const folders = [paths.home, paths.environments, state, '/workspace']
  return {
    worker,
    sandboxd,
    workerMemoryKb: Number(/VmRSS:\s+(\d+)/.exec(readText(`/proc/${worker}/status`))?.[1] ?? 0),
    counts: {
      'processes below sandboxd': below.length - waiting,
      "handlers beyond what a client's overlapping connections need": Math.max(0, waiting - MOST_WAITING),
      'cgroup leaves': findLeaves(instance).length,
      'mounts on the host': findMounts(folders).length,
      "mounts in sandboxd's namespace": findMounts(folders, acceptLoop).length,
      'files in run and spool': countFiles(paths.run, paths.code) + countFiles(paths.spool),
      "files in sandboxd's state": countFiles(path.join('/proc', String(acceptLoop), 'root', state)),
      "files of a sandbox's owner on the host": OPEN_FOLDERS.flatMap(ownedBySandboxes).length,
    },
    facts: {
      hostname: hostname(),
      // One that serves docker jobs is beside the other.
      workers: workers.join(),
      ...Object.fromEntries(['core_pattern', 'modprobe', 'hotplug', 'domainname'].map(readSetting)),
      ...Object.fromEntries([...HOST_FILES, ...environmentFiles(rootFs)].map((file) => [file, describeFile(file)])),
    },
  }
}

/** What is worse than before, in words; empty when the host is as it was. */
export function findHarm(before: Observation, now: Observation): string[] {
  return [
    ...(now.worker === before.worker && now.worker !== 0 ? [] : ['the worker is not the same any more']),
    ...(now.sandboxd === before.sandboxd && now.sandboxd !== 0 ? [] : ['sandboxd is not the same any more']),
    ...(now.workerMemoryKb < WORKER_MEMORY_LIMIT_KB ? [] : [`the worker uses ${now.workerMemoryKb} KiB of memory`]),
    ...Object.entries(now.counts)
      .filter(([what, count]) => count > (before.counts[what] ?? 0))
      .map(([what, count]) => `${what}: ${count} instead of ${before.counts[what] ?? 0}`),
    ...Object.entries(now.facts)
      .filter(([what, fact]) => fact !== before.facts[what])
      .map(([what, fact]) => `${what} was ${before.facts[what]} and is ${fact}`),
  ]
}

const HOST_FILES = ['/etc/passwd', '/etc/shadow', '/dev/null']

function environmentFiles(rootFs: string): string[] {
  const names = ['', 'tmp', 'workspace', 'etc', 'usr/bin', 'usr/bin/python3', 'usr/lib/python3/dist-packages/numpy']
  return names.map((name) => path.join(rootFs, name))
}

/** The times of a device change whenever somebody writes to it. */
function describeFile(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false })
  if (found === undefined) return 'absent'
  const { mode, uid, gid, size, mtimeMs } = found
  return [mode.toString(8), uid, gid, ...(file.startsWith('/dev/') ? [] : [size, mtimeMs])].join(' ')
}

function readSetting(name: string): [string, string] {
  return [`kernel.${name}`, readText(`/proc/sys/kernel/${name}`).trim()]
}

function findSandboxd(socket: string): number {
  const pids = findProcesses(socket, /sandboxd/).map(({ pid }) => pid)
  return pids.find((pid) => !pids.includes(parentOf(pid))) ?? 0
}

/** sandboxd keeps as many as it once needed at the same moment: two connections that overlap leave one more. */
function isWaitingHandler(pid: number, acceptLoop: number): boolean {
  const isFork =
    parentOf(pid) === acceptLoop && readText(`/proc/${pid}/cmdline`) === readText(`/proc/${acceptLoop}/cmdline`)
  return isFork && findDescendants(pid).length === 0
}

function countFiles(folder: string, except = ''): number {
  if (folder === except) return 0
  return entriesOf(folder).reduce((sum, entry) => {
    const file = path.join(folder, entry.name)
    return sum + 1 + (entry.isDirectory() ? countFiles(file, except) : 0)
  }, 0)
}

function ownedBySandboxes(folder: string): string[] {
  return entriesOf(folder)
    .map(({ name }) => path.join(folder, name))
    .filter((file) => (lstatSync(file, { throwIfNoEntry: false })?.uid ?? 0) >= FIRST_SANDBOX_UID)
}
