import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { SecretProvider } from './secret-provider.ts'
import { requireTrustedProgram } from './trusted-program.ts'

const MAX_BYTES = 65_536

/** A program of the operator's that prints the secret whose name is its only argument, as credential helpers do. */
export const execProvider: SecretProvider = {
  nameForm: 'letters, digits and "_", "-", ".", "/", "#", ":", "@", beginning with a letter or digit, without ".."',

  // No dash in front: a name is never an option. No "..": programs make paths of names.
  isName: (name) => /^(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9_./#:@-]{0,199}$/.test(name),

  async read(name, { command }, signal) {
    if (command === null) throw new Error('ERGON_SECRET_COMMAND, the program to ask, is not set')
    const program = await requireTrustedProgram(command)
    return { value: await run(program, name, signal), expiresInMs: null }
  },
}

async function run(program: string, name: string, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted()
  const child = spawn(program, [name], {
    cwd: '/',
    // Nothing of the starter's own environment: it holds the secrets of other services.
    env: { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C.UTF-8', TZ: 'UTC' },
    // What it complains of may hold the secret, so nobody reads it.
    stdio: ['ignore', 'pipe', 'ignore'],
    // A group of its own, so that what it starts ends with it.
    detached: true,
  })
  const kill = (): void => {
    // Somebody who left the group may hold the pipe for ever.
    child.stdout.destroy()
    if (child.pid === undefined) return
    try {
      process.kill(-child.pid, 'SIGKILL')
    } catch {
      // It has ended.
    }
  }
  signal.addEventListener('abort', kill, { once: true })
  try {
    const chunks: Buffer[] = []
    let length = 0
    child.stdout.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (length <= MAX_BYTES) chunks.push(chunk)
      else kill()
    })
    const [code, endedBy] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null]
    const byHand = `run it by hand with the name to see why: ${program}`
    if (signal.aborted) throw new Error(`the program did not answer in time; ${byHand}`)
    if (length > MAX_BYTES) throw new Error(`the program printed more than ${MAX_BYTES} bytes`)
    if (code !== 0)
      throw new Error(`the program ended with ${code === null ? `signal ${endedBy}` : `status ${code}`}; ${byHand}`)
    return readText(Buffer.concat(chunks))
  } finally {
    signal.removeEventListener('abort', kill)
  }
}

function readText(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes).replace(/\r?\n$/, '')
  } catch {
    throw new Error('the program printed what is no UTF-8 text')
  }
}
