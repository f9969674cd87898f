import path from 'node:path'
import { requireSocketPath } from '../process/socket-path.ts'

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
  requireSocketPath(path.join(socket, `.s.PGSQL.${port}.lock`))
  return {
    home,
    data: path.join(home, 'postgres'),
    socket,
    lock: path.join(home, 'run/postgres.lock'),
    password: path.join(home, 'credentials/postgres.password'),
    log: path.join(home, 'log/postgres.log'),
  }
}
