import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { childEnvironment } from '../config/child-environment.ts'
import type { HomePaths } from '../config/home-paths.ts'
import type { Settings } from '../config/settings.ts'
import { ERROR_CATALOGUE, type ErrorCode } from '../platform/errors/error-catalogue.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { findInstallLocation } from './install-location.ts'
import { prepareHome, workerUser } from './prepare-home.ts'
import { type StackNeed, type StackRequest, stackAnswerSchema } from './stack-protocol.ts'

const START_TIMEOUT_MS = 90_000
const STOP_TIMEOUT_MS = 30_000

/** A use of the stack of one ERGON_HOME; the stack of an ad-hoc command ends with its last use. */
export interface StackUse {
  databaseUrl: string | null
  workerDatabaseUrl: string | null
  callbackDatabaseUrl: string | null
  apiDatabaseUrl: string | null
  /** Ends this use; resolves when the stack is gone too, if nobody else uses it. */
  release(): Promise<void>
}

/**
 * Uses the running stack of this ERGON_HOME, or starts one that lives as long as somebody uses it. `registry` is the
 * one that the stack's worker must serve, null where it does not matter.
 */
export async function useStack(
  settings: Settings,
  paths: HomePaths,
  need: StackNeed,
  registry: string | null = null,
): Promise<StackUse> {
  const deadline = performance.now() + START_TIMEOUT_MS
  for (;;) {
    const socket = await tryConnect(paths.stackSocket)
    if (socket !== null) {
      const use = await ask(socket, { need, databaseUrl: settings.databaseUrl, registry })
      if (use !== null) return use
    } else await startStack(settings, paths)
    if (performance.now() > deadline)
      throw new ErgonError(
        'PROCESS_FAILED',
        `the stack of ${paths.home} did not come up within ${START_TIMEOUT_MS / 1000} s`,
      )
    await sleep(50)
  }
}

async function tryConnect(socketPath: string): Promise<Socket | null> {
  const socket = connect({ path: socketPath, allowHalfOpen: true })
  try {
    await once(socket, 'connect')
    return socket
  } catch {
    return null
  }
}

/** Null when the stack was just ending: then it has to be started anew. */
async function ask(socket: Socket, request: StackRequest): Promise<StackUse | null> {
  socket.on('error', () => {})
  // Not events.once, which an error rejects: a connection that the ending stack never accepted is reset.
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  const lines = createInterface({ input: socket }).on('error', () => {})
  const answered = new Promise<string>((resolve) => lines.once('line', resolve))
  socket.write(`${JSON.stringify(request)}\n`)
  const line = await Promise.race([answered, closed.then(() => null)])
  if (line === null) return null
  const answer = stackAnswerSchema.parse(JSON.parse(line))
  const release = async () => {
    socket.end()
    await Promise.race([closed, sleep(STOP_TIMEOUT_MS, undefined, { ref: false })])
    socket.destroy()
  }
  if ('error' in answer) {
    await release()
    throw toError(answer.error)
  }
  return { ...answer, release }
}

/** Starts a stack process of its own session; whoever comes first wins the lock, and everybody connects to that one. */
async function startStack(settings: Settings, paths: HomePaths): Promise<void> {
  await prepareHome(paths, workerUser())
  const log = await open(path.join(paths.log, 'stack.log'), 'a', 0o600)
  try {
    const child = spawn(process.execPath, [path.join(findInstallLocation().cli, 'stack-process.js')], {
      detached: true,
      stdio: ['ignore', 'pipe', log.fd],
      env: childEnvironment(settings),
      cwd: '/',
    })
    if (child.stdout === null) throw new Error('a pipe was asked for and not made')
    const ended = once(child, 'exit').then(
      () => '{"error":{"code":"PROCESS_FAILED","message":"the stack process ended; see log/stack.log"}}',
    )
    const said = once(createInterface({ input: child.stdout }), 'line').then(([text]) => String(text))
    const line = await Promise.race([said, ended])
    // Not before it has spoken: this process would end, without a word, when the stack is killed instead.
    child.unref()
    child.stdout.destroy()
    const answer: unknown = JSON.parse(line)
    const error = typeof answer === 'object' && answer !== null && 'error' in answer ? answer.error : null
    // Losing the race for the lock is no failure: the winner's socket is there in a moment.
    if (isCodedError(error) && error.code !== 'ALREADY_RUNNING') throw toError(error)
  } finally {
    await log.close()
  }
}

function isCodedError(value: unknown): value is { code: string; message: string } {
  return typeof value === 'object' && value !== null && 'code' in value && 'message' in value
}

function toError({ code, message }: { code: string; message: string }): ErgonError {
  const known = Object.hasOwn(ERROR_CATALOGUE, code) ? (code as ErrorCode) : 'INTERNAL'
  return new ErgonError(known, message)
}
