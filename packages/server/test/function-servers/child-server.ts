import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'

/** Where bin/setup --tests installs servers of other people. */
const FOLDER = path.join(import.meta.dirname, '../../../../tools/function-servers')

/** A program of that folder, once it has printed what `ready` finds. */
export interface ChildServer {
  found: string
  stop(): Promise<void>
}

export async function startChild(args: readonly string[], ready: RegExp): Promise<ChildServer> {
  const child: ChildProcess = spawn(process.execPath, args, {
    cwd: FOLDER,
    env: { PATH: process.env['PATH'], HOME: '/nonexistent' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  const found = new Promise<string>((resolve, reject) => {
    const listen = (chunk: Buffer): void => {
      said += chunk.toString('utf8')
      const match = ready.exec(said)
      if (match !== null) resolve(match[1] ?? '')
    }
    child.stdout?.on('data', listen)
    child.stderr?.on('data', listen)
    child.once('error', reject)
    child.once('exit', () => {
      reject(new Error(`${args.join(' ')} has ended (bin/setup --tests installs it): ${said.slice(-4_000)}`))
    })
  })
  return {
    found: await found,
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}
