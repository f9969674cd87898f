import { createHash } from 'node:crypto'
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { mounts, openDescriptors, residentMb, sandboxdProcesses, zombiesOf } from '../processes.ts'

/** What could pile up from job to job. */
export interface Residue {
  workerMb: number
  descriptors: number
  mounts: number
  cgroups: number
  zombies: number
}

/** Takes stock of a worker and its sandboxd while no job runs. */
export function takeStock(worker: number, sandboxdSocket: string): Residue {
  const sandboxd = sandboxdProcesses(sandboxdSocket)
  // Handlers come and go; the two above them stay.
  const [outer, acceptLoop] = sandboxd.toSorted((a, b) => a - b)
  if (outer === undefined || acceptLoop === undefined) throw new Error(`no sandboxd serves ${sandboxdSocket}`)
  return {
    workerMb: residentMb(worker),
    descriptors: [worker, outer, acceptLoop].map(openDescriptors).reduce((sum, each) => sum + each),
    mounts: mounts(process.pid) + mounts(acceptLoop),
    cgroups: cgroupsOf(sandboxdSocket),
    zombies: zombiesOf([worker, ...sandboxd]),
  }
}

/** The groups below the folders that a sandboxd owns, named after its socket, in every hierarchy. */
function cgroupsOf(sandboxdSocket: string): number {
  const instance = createHash('sha256').update(realpathSync(sandboxdSocket)).digest('hex').slice(0, 16)
  const roots = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((name) => path.join('/sys/fs/cgroup', name))]
  return roots
    .map((root) => path.join(root, 'ergon', instance))
    .filter((folder) => existsSync(folder))
    .flatMap((folder) => readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())).length
}
