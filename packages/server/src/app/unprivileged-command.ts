import path from 'node:path'
import type { HomePaths } from '../config/home-paths.ts'
import type { ProcessCommand } from '../platform/process/supervised-process.ts'
import { findInstallLocation } from './install-location.ts'

/**
 * Binds Node and the program's files read-only at places the worker's user can enter (a checkout below /root is not
 * one), in a mount namespace of its own, then gives up root and every capability for good.
 */
const DROP_PRIVILEGES = `
set -eu
uid=$1 gid=$2
bind() {
  mount --bind "$1" "$2"
  mount -o remount,bind,ro,nosuid,nodev "$2"
}
bind "$3" "$4"
bind "$5" "$6"
shift 6
exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all --pdeathsig KILL "$@"
`

export interface UnprivilegedProgram {
  /** Its file in the folder of the command line. */
  entry: string
  /** Shown in process lists. */
  name: string
  nodeFlags: readonly string[]
  env: Readonly<Record<string, string>>
  /** Its configuration, which holds secrets; `parentPid` is added. */
  config: object
  uid: number
  gid: number
}

/** The command that runs one of our programs; started by root it runs as that user without capabilities, else as who we are. */
export function unprivilegedCommand(program: UnprivilegedProgram, paths: HomePaths): ProcessCommand {
  const { nodeFlags, uid, gid, name } = program
  const location = findInstallLocation()
  const entry = path.join(location.cli, program.entry)
  const env = {
    PATH: '/usr/local/bin:/usr/bin:/bin',
    LANG: 'C.UTF-8',
    TZ: 'UTC',
    NODE_ENV: 'production',
    ...program.env,
  }
  const stdin = `${JSON.stringify({ ...program.config, parentPid: process.pid })}\n`
  if (process.getuid?.() !== 0)
    return { command: process.execPath, args: [...nodeFlags, entry], env, stdin, isTold: true }
  const entryInside = path.join(paths.code, path.relative(location.root, entry))
  const parameters = [String(uid), String(gid), location.root, paths.code, process.execPath, paths.node]
  return {
    command: 'unshare',
    args: [
      ...['--mount', '--propagation', 'private', '--', 'sh', '-c', DROP_PRIVILEGES, name],
      ...[...parameters, paths.node, ...nodeFlags, entryInside],
    ],
    env,
    stdin,
    isTold: true,
  }
}
