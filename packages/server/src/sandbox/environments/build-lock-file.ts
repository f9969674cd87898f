import { spawn } from 'node:child_process'
import { once } from 'node:events'

/**
 * Holds an exclusive lock on a file until disposed. The lock belongs to a child that reads our pipe, so it ends with this
 * process however that ends; `onWait` is called once when somebody else holds it.
 */
export async function holdFileLock(file: string, onWait: () => void): Promise<AsyncDisposable> {
  const child = spawn('flock', ['--exclusive', file, 'sh', '-c', 'echo locked; cat'], {
    stdio: ['pipe', 'pipe', 'ignore'],
  })
  const exited = once(child, 'close')
  const waiting = setTimeout(onWait, 300)
  try {
    await Promise.race([
      once(child.stdout, 'data'),
      exited.then(() => Promise.reject(new Error(`cannot lock ${file}`))),
    ])
  } finally {
    clearTimeout(waiting)
  }
  return {
    async [Symbol.asyncDispose]() {
      child.stdin.end()
      await exited
    },
  }
}
