import { randomUUID } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import path from 'node:path'

/** The spool of one worker process, named so that others can tell when its owner is gone. */
export function workerSpool(spoolRoot: string): string {
  return path.join(spoolRoot, `${process.pid}-${randomUUID()}`)
}

/** Removes the spools of workers that no longer live (they were killed), and `own` when this worker ends. */
export async function sweepSpool(spoolRoot: string, { own }: { own?: string } = {}): Promise<void> {
  for (const name of await readdir(spoolRoot)) {
    const folder = path.join(spoolRoot, name)
    const isDead = !isAlive(Number.parseInt(name, 10))
    if (isDead || folder === own) await rm(folder, { recursive: true, force: true })
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isSafeInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    // Somebody else's process: it is alive, and not ours to judge.
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
