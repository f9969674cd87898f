import type { HomePaths } from '../config/home-paths.ts'
import type { OsUser } from '../platform/process/os-user.ts'
import type { ProcessCommand } from '../platform/process/supervised-process.ts'
import type { SandboxRuntime } from '../sandbox/sandbox.ts'
import { findInstallLocation } from './install-location.ts'
import type { UplinkNeeds } from './uplink-needs.ts'

/**
 * The command that runs this machine's sandboxd for one ERGON_HOME; it dies with the process that starts it, and refuses
 * to start where `runtime` can't be used.
 */
export function sandboxdCommand(
  paths: HomePaths,
  user: OsUser,
  runtime: SandboxRuntime,
  uplink: UplinkNeeds | null = null,
): ProcessCommand {
  return {
    command: findInstallLocation().sandboxd,
    args: [
      ...['--home', paths.run],
      ...['--environments', paths.environments],
      ...['--socket', paths.sandboxdSocket],
      ...['--worker-uid', String(user.uid)],
      ...['--worker-gid', String(user.gid)],
      ...['--runtime', runtime],
      '--die-with-parent',
      // Only what a registry needs: a worker cannot ask for more.
      ...(uplink === null ? [] : ['--allow-uplink']),
      ...(uplink?.networks.flatMap((network) => ['--uplink-network', network]) ?? []),
    ],
    env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8' },
    stdin: '',
  }
}
