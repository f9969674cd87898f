import path from 'node:path'
import { ErgonError } from '../errors/ergon-error.ts'

/** The kernel's limit for the address of a unix socket, without its NUL. */
const MAX_SOCKET_BYTES = 107

/** Where the embedded server keeps its things below ERGON_HOME. */
export interface PostgresFolders {
  home: string
  data: string
  /** The folder of the unix socket. */
  socket: string
  lock: string
  password: string
  log: string
}

/** Throws DATABASE_SOCKET_PATH_TOO_LONG when no socket fits below this home. */
export function postgresFolders(home: string, port: number): PostgresFolders {
  const socket = path.join(home, 'run/postgres')
  // The server also makes a lock file, whose name is the longer one.
  const longest = path.join(socket, `.s.PGSQL.${port}.lock`)
  const bytes = Buffer.byteLength(longest)
  if (bytes > MAX_SOCKET_BYTES) {
    throw new ErgonError(
      'DATABASE_SOCKET_PATH_TOO_LONG',
      `${longest} has ${bytes} bytes, a unix socket's path at most ${MAX_SOCKET_BYTES}: set ERGON_HOME to a shorter path than ${home}`,
    )
  }
  return {
    home,
    data: path.join(home, 'postgres'),
    socket,
    lock: path.join(home, 'run/postgres.lock'),
    password: path.join(home, 'credentials/postgres.password'),
    log: path.join(home, 'log/postgres.log'),
  }
}
