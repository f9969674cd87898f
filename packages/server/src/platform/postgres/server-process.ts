import { type ChildProcess, spawn } from 'node:child_process'
import { mkdir, open, readFile, stat, truncate } from 'node:fs/promises'
import path from 'node:path'
import type { OsUser } from '../process/os-user.ts'

/** All that PostgreSQL's programs see of our environment: none of it. */
export const SERVER_ENVIRONMENT = { LC_ALL: 'C', PATH: '/usr/local/bin:/usr/bin:/bin' }

/** We may have died before the kernel was asked to tell: then nobody would ever stop the server. */
const UNLESS_ORPHANED = '[ "$PPID" = "$1" ] || exit 1; shift; exec "$@"'

const MAX_LOG_BYTES = 10 * 1024 * 1024

export interface ServerCommand {
  postgres: string
  dataFolder: string
  settings: Readonly<Record<string, string>>
  user: OsUser
  logFile: string
}

export interface ServerProcess {
  child: ChildProcess
  /** What this server has logged since it was spawned, at most the last 2 000 characters. */
  readLog(): Promise<string>
}

/**
 * Starts the server as a process of its own session, so that a Ctrl-C meant for us does not reach it, and asks the
 * kernel to shut it down (SIGINT, fast) when we die: nobody would be left to stop it.
 */
export async function spawnServer({
  postgres,
  dataFolder,
  settings,
  user,
  logFile,
}: ServerCommand): Promise<ServerProcess> {
  await mkdir(path.dirname(logFile), { recursive: true, mode: 0o700 })
  const log = await open(logFile, 'a', 0o600)
  try {
    let { size } = await log.stat()
    if (size > MAX_LOG_BYTES) {
      await truncate(logFile)
      size = 0
    }
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const child = spawn(
      'setpriv',
      [
        '--pdeathsig',
        'INT',
        '--no-new-privs',
        '--',
        'sh',
        '-c',
        UNLESS_ORPHANED,
        'postgres',
        String(process.pid),
        postgres,
        '-D',
        dataFolder,
        ...options,
      ],
      {
        uid: user.uid,
        gid: user.gid,
        cwd: '/',
        env: SERVER_ENVIRONMENT,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
      },
    )
    child.unref()
    return { child, readLog: async () => (await readFrom(logFile, size)).slice(-2_000).trim() }
  } finally {
    await log.close()
  }
}

async function readFrom(file: string, offset: number): Promise<string> {
  const { size } = await stat(file)
  return size <= offset ? '' : (await readFile(file)).subarray(offset).toString()
}
