import path from 'node:path'
import type { HomePaths } from '../config/home-paths.ts'
import type { OsUser } from '../platform/process/os-user.ts'
import type { ProcessCommand } from '../platform/process/supervised-process.ts'
import { findInstallLocation } from './install-location.ts'
import type { WorkerProcessConfig } from './worker-process-config.ts'

/**
 * Binds the program's files read-only at a place the worker's user can enter (a checkout below /root is not one), in a
 * mount namespace of its own, then gives up root and every capability for good.
 */
const DROP_PRIVILEGES = `
set -eu
root=$1 code=$2 uid=$3 gid=$4
shift 4
mount --bind "$root" "$code"
mount -o remount,bind,ro,nosuid,nodev "$code"
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all --pdeathsig KILL "$@"
`

/** The command that runs a worker process; started by root it runs as the worker's user without capabilities. */
export function workerCommand(config: WorkerProcessConfig, paths: HomePaths, user: OsUser): ProcessCommand {
  const location = findInstallLocation()
  const entry = path.join(location.cli, 'worker-process.js')
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin', LANG: 'C.UTF-8', TZ: 'UTC', NODE_ENV: 'production' }
  const stdin = `${JSON.stringify(config)}\n`
  if (process.getuid?.() !== 0) return { command: process.execPath, args: [entry], env, stdin }
  const seenByWorker = (file: string) =>
    file.startsWith(`${location.root}/`) ? path.join(paths.code, path.relative(location.root, file)) : file
  const identity = [String(user.uid), String(user.gid)]
  return {
    command: 'unshare',
    args: [
      ...[
        '--mount',
        '--propagation',
        'private',
        '--',
        'sh',
        '-c',
        DROP_PRIVILEGES,
        'worker',
        location.root,
        paths.code,
      ],
      ...identity,
      ...[seenByWorker(process.execPath), seenByWorker(entry)],
    ],
    env,
    stdin,
  }
}
