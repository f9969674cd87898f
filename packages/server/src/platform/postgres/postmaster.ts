import { readdir, readFile, readlink, realpath } from 'node:fs/promises'
import path from 'node:path'

export interface Postmaster {
  pid: number
  port: number
  listensOnTcp: boolean
}

/** The live server of a data folder as its postmaster.pid tells, or null. A pid that another program has now is not believed. */
export async function findPostmaster(dataFolder: string): Promise<Postmaster | null> {
  const lines = await readFile(path.join(dataFolder, 'postmaster.pid'), 'utf8').then(
    (text) => text.split('\n'),
    () => [],
  )
  const pid = Number(lines[0])
  if (!Number.isInteger(pid) || pid <= 1 || !(await worksIn(pid, dataFolder))) return null
  return { pid, port: Number(lines[3]), listensOnTcp: (lines[5] ?? '') !== '' }
}

/** Processes of a server that is gone: they keep its shared memory, and no new one starts beside them. */
export async function findOrphans(dataFolder: string): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const working = await Promise.all(pids.map((pid) => worksIn(pid, dataFolder)))
  return pids.filter((pid, index) => working[index] === true && pid !== process.pid)
}

/** PostgreSQL's processes work in their data folder, and nothing else has a reason to. */
async function worksIn(pid: number, dataFolder: string): Promise<boolean> {
  try {
    return (await readlink(`/proc/${pid}/cwd`)) === (await realpath(dataFolder))
  } catch {
    return false
  }
}
