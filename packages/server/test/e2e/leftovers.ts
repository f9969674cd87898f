import { setTimeout as sleep } from 'node:timers/promises'
import {
  findLeaves,
  findMounts,
  findProcesses as findProcessesOf,
  instanceOf,
} from '../../src/conformance/leftovers.ts'
import type { ErgonHome } from './ergon.ts'

export const findProcesses = findProcessesOf

/** What a home's processes have left on the machine: processes, mounts, cgroup leaves. Empty when all is well. */
function findLeftovers(home: ErgonHome): string[] {
  return [
    ...findProcesses(home.folder).map(({ pid, command }) => `process ${pid}: ${command}`),
    ...findMounts([home.folder]).map((line) => `mount ${line}`),
    ...findCgroups(home),
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

/** The cgroup leaves of a home's fresh sandboxes, whose names are those of jobs: templates and ready children have others. */
export function findSandboxes(home: ErgonHome): string[] {
  return findCgroups(home).filter((leaf) => !/\/(template|warm)_[^/]*$/.test(leaf))
}

function findCgroups(home: ErgonHome): string[] {
  const instance = rememberedInstanceOf(home)
  return instance === null ? [] : findLeaves(instance).map((leaf) => `cgroup ${leaf}`)
}

/** Remembered, since the data folder may be gone when somebody asks what it has left. */
const instances = new Map<string, string>()

function rememberedInstanceOf(home: ErgonHome): string | null {
  const instance = instanceOf(home.paths.run)
  if (instance !== null) instances.set(home.folder, instance)
  return instances.get(home.folder) ?? null
}
