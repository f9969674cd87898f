import { chmod, unlink } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { createInterface } from 'node:readline'
import type { HomePaths } from '../config/home-paths.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { requireSocketPath } from '../platform/process/socket-path.ts'
import { type FileLock, tryFileLock } from '../platform/process/file-lock.ts'
import type { LocalStack } from './local-stack.ts'
import { type StackAnswer, stackRequestSchema } from './stack-protocol.ts'

/**
 * Lets other commands of the same ERGON_HOME use this process's stack, over `run/stack.sock`. A connection is a use:
 * when the client dies, however it dies, the kernel tells us.
 */
export class StackServer {
  readonly #stack: LocalStack
  readonly #socketPath: string
  readonly #socketPaths: string[]
  readonly #lockPath: string
  readonly #users = new Set<Socket>()
  readonly #onUnused: (() => void) | null
  #server: Server | null = null
  #lock: FileLock | null = null

  /** `onUnused` ends a stack that lives only as long as somebody uses it; null for one that was started to stay. */
  constructor(stack: LocalStack, paths: HomePaths, onUnused: (() => void) | null) {
    this.#stack = stack
    this.#socketPath = paths.stackSocket
    this.#socketPaths = [paths.stackSocket, paths.sandboxdSocket]
    this.#lockPath = `${paths.stackSocket}.lock`
    this.#onUnused = onUnused
  }

  get isInUse(): boolean {
    return this.#users.size > 0
  }

  /** Throws ALREADY_RUNNING when another process holds this ERGON_HOME's stack, DATABASE_SOCKET_PATH_TOO_LONG for a deep one. */
  async start(): Promise<void> {
    for (const socket of this.#socketPaths) requireSocketPath(socket)
    this.#lock = await tryFileLock(this.#lockPath)
    if (this.#lock === null) {
      throw new ErgonError(
        'ALREADY_RUNNING',
        `another process runs the stack of this ERGON_HOME (lock ${this.#lockPath}): use it, stop it, or choose another ERGON_HOME`,
      )
    }
    await unlink(this.#socketPath).catch(() => {})
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#serve(socket))
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(this.#socketPath, resolve)
    })
    await chmod(this.#socketPath, 0o600)
    this.#server = server
  }

  /** Takes no new users; those that are connected learn of the end by the closing of their sockets, after `stopStack`. */
  async stop(stopStack: () => Promise<void>): Promise<void> {
    this.#server?.close()
    await unlink(this.#socketPath).catch(() => {})
    await stopStack()
    await this.#lock?.release()
    for (const socket of this.#users) socket.destroy()
  }

  #serve(socket: Socket): void {
    this.#users.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => this.#leave(socket))
    // A client half-closes when it is finished and waits for our side: then nothing of its use is left.
    socket.on('end', () => {
      if (this.#onUnused === null || this.#users.size > 1) socket.end()
      else this.#onUnused()
    })
    createInterface({ input: socket })
      // It repeats the socket's errors (a client that is killed before it reads our answer resets the connection), and
      // one that nobody listens to would end this process.
      .on('error', () => {})
      .once('line', (line) => {
        void this.#answer(line).then((answer) => socket.write(`${JSON.stringify(answer)}\n`))
      })
  }

  #leave(socket: Socket): void {
    this.#users.delete(socket)
    if (this.#users.size === 0) this.#onUnused?.()
  }

  async #answer(line: string): Promise<StackAnswer> {
    try {
      const request = stackRequestSchema.parse(JSON.parse(line))
      return await this.#stack.provide(request)
    } catch (error) {
      const code = error instanceof ErgonError ? error.code : 'INTERNAL'
      return { error: { code, message: error instanceof Error ? error.message : String(error) } }
    }
  }
}
