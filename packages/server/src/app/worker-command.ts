import type { HomePaths } from '../config/home-paths.ts'
import type { OsUser } from '../platform/process/os-user.ts'
import type { ProcessCommand } from '../platform/process/supervised-process.ts'
import { unprivilegedCommand } from './unprivileged-command.ts'
import type { WorkerProcessConfig } from './worker-process-config.ts'

/**
 * What jobs write passes through as large strings and buffers that live for milliseconds. Left alone, V8 lets its young
 * space grow to 96 MiB and its old one to twice what lives before it looks, so that the worker's size would follow what
 * jobs write. These bound what lies about and not what may live: a job's largest output needs no less room than before.
 */
const NODE_FLAGS = [
  // The less young space, the more jobs among 200 in flight outlive it, are copied and marked: 4 MiB would save a sixth
  // of the instructions of 1, but then the worker is now and then above 128 MB.
  ...['--max-semi-space-size=2', '--heap-growing-percent=20'],
  // Else SIGUSR1, which any process of the same user may send, opens a debugger that runs whatever it is told.
  '--disable-sigusr1',
]

const ENVIRONMENT = {
  // Each thread that allocates gets an arena of the C library's own, which keeps what it once took: 13 MB after some
  // thousands of http jobs (129 MB against 116), for a contention that could not be measured.
  MALLOC_ARENA_MAX: '1',
  // Whoever starts a worker as an ordinary user has such files at home; AWS's library reads them unasked.
  AWS_CONFIG_FILE: '/dev/null',
  AWS_SHARED_CREDENTIALS_FILE: '/dev/null',
}

/** Nobody's: for a worker that holds an engine's client certificate and so no socket's group. */
const NO_GROUP = 65_534

/** The command that runs a worker process; started by root it runs as the worker's user without capabilities. */
export function workerCommand(
  config: Omit<WorkerProcessConfig, 'parentPid'>,
  paths: HomePaths,
  user: OsUser,
  /** The group that a container engine's socket belongs to, for a worker that uses it. */
  socketGroup: number | null = null,
): ProcessCommand {
  // A worker with an engine is as good as root, and the others have its uid: only what differs in its group keeps the kernel from
  // letting them trace it and write to its memory.
  const gid = config.dockerEngine === null ? user.gid : (socketGroup ?? NO_GROUP)
  const program = {
    entry: 'worker-process.js',
    name: 'worker',
    nodeFlags: NODE_FLAGS,
    env: ENVIRONMENT,
    config,
    uid: user.uid,
    gid,
  }
  return unprivilegedCommand(program, paths)
}
