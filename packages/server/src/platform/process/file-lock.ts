import { spawn } from 'node:child_process'
import { once } from 'node:events'

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
