import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { constants, open } from 'node:fs/promises'

export interface FileLock {
  release(): Promise<void>
}

/**
 * Takes an exclusive lock on a file. The kernel's lock belongs to a child that reads our pipe, so it ends with this
 * process however that ends. `onWait` is called once when somebody else holds it.
 */
export async function holdFileLock(file: string, onWait: () => void): Promise<FileLock> {
  const lock = await takeFileLock(file, ['--exclusive'], onWait)
  if (lock === null) throw new Error(`cannot lock ${file}`)
  return lock
}

/** Takes the lock if it is free; null when somebody else holds it. */
export function tryFileLock(file: string): Promise<FileLock | null> {
  return takeFileLock(file, ['--exclusive', '--nonblock'], () => {})
}

async function takeFileLock(file: string, mode: string[], onWait: () => void): Promise<FileLock | null> {
  await makeOurs(file)
  const child = spawn('flock', [...mode, file, 'sh', '-c', 'echo locked; cat'], { stdio: ['pipe', 'pipe', 'ignore'] })
  const closed = once(child, 'close')
  const waiting = setTimeout(onWait, 300)
  const locked = await Promise.race([once(child.stdout, 'data').then(() => true), closed.then(() => false)])
  clearTimeout(waiting)
  if (!locked) return null
  return {
    async release() {
      child.stdin.end()
      await closed
    },
  }
}

/** Whoever can open a file, if only to read it, can lock it and keep us waiting: nobody else may. */
async function makeOurs(file: string): Promise<void> {
  const handle = await open(file, constants.O_RDONLY | constants.O_CREAT | constants.O_NOFOLLOW, 0o600)
  try {
    if (((await handle.stat()).mode & 0o077) !== 0) await handle.chmod(0o600)
  } finally {
    await handle.close()
  }
}
