import { ErgonError } from '../errors/ergon-error.ts'

/** The kernel's limit for the address of a unix socket, without its NUL. */
const MAX_SOCKET_BYTES = 107

/** Throws DATABASE_SOCKET_PATH_TOO_LONG for a path that no unix socket can have; Node says only EINVAL. */
export function requireSocketPath(socket: string): void {
  const bytes = Buffer.byteLength(socket)
  if (bytes <= MAX_SOCKET_BYTES) return
  throw new ErgonError(
    'DATABASE_SOCKET_PATH_TOO_LONG',
    `${socket} has ${bytes} bytes, a unix socket's path at most ${MAX_SOCKET_BYTES}: set ERGON_HOME to a shorter path`,
  )
}
