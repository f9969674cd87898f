import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { EngineConfig } from '../runners/docker/engine-config.ts'
import { findSshProblem } from '../runners/docker/find-ssh-problem.ts'

const OTHERS_MAY = 0o077

/** How a worker reaches the operator's container engine. */
export interface EngineAccess {
  engine: EngineConfig
  /** The group that may use its socket; null where there is no socket, or its owner is who runs the worker. */
  socketGroup: number | null
}

/** What the settings name, read with the rights of whoever starts the worker; null when they name no engine. Throws CONFIG_INVALID. */
export async function readEngineAccess(settings: Settings): Promise<EngineAccess | null> {
  const { dockerHost: url, dockerCertPath } = settings
  if (url === null) return null
  const hiddenPaths = hiddenPathsOf(settings)
  if (url.startsWith('unix://')) {
    const engine = { url, tls: null, hiddenPaths }
    return { engine, socketGroup: await groupOfSocket(url.slice('unix://'.length)) }
  }
  if (url.startsWith('ssh://'))
    return { engine: { url, tls: null, ssh: await readSsh(url, settings), hiddenPaths }, socketGroup: null }
  if (dockerCertPath === null)
    throw invalid(
      `${SETTING_VARIABLES.dockerHost} is ${url}, without certificates open to whoever reaches it: set ${SETTING_VARIABLES.dockerCertPath} to the folder of ca.pem, cert.pem and key.pem`,
    )
  return { engine: { url, tls: await readCertificates(dockerCertPath), hiddenPaths }, socketGroup: null }
}

/** What a worker is told of and no container may see; the data folder and the registry's own files are added where volumes are judged. */
function hiddenPathsOf({ cache, signingKeyFile, dockerCertPath, dockerSshKeyFile, dockerSshKnownHosts }: Settings) {
  return [cache, signingKeyFile, dockerCertPath, dockerSshKeyFile, dockerSshKnownHosts].filter((each) => each !== null)
}

async function readCertificates(folder: string): Promise<EngineConfig['tls']> {
  const read = (name: string) => readNamed('dockerCertPath', path.join(folder, name))
  const [ca = '', cert = '', key = ''] = await Promise.all(['ca.pem', 'cert.pem', 'key.pem'].map(read))
  return { ca, cert, key }
}

async function readSsh(
  url: string,
  { dockerSshKeyFile: keyFile, dockerSshKnownHosts: knownHostsFile }: Settings,
): Promise<NonNullable<EngineConfig['ssh']>> {
  if (keyFile === null || knownHostsFile === null)
    throw invalid(
      `${SETTING_VARIABLES.dockerHost} is ${url}: set ${SETTING_VARIABLES.dockerSshKeyFile} to a private key, and ${SETTING_VARIABLES.dockerSshKnownHosts} to a known_hosts file with the key of the host`,
    )
  const ssh = {
    privateKey: await readNamed('dockerSshKeyFile', keyFile),
    knownHosts: await readNamed('dockerSshKnownHosts', knownHostsFile),
  }
  if (((await stat(keyFile)).mode & OTHERS_MAY) !== 0)
    throw invalid(`${SETTING_VARIABLES.dockerSshKeyFile}: ${keyFile} is open to others than its owner: chmod 0600 it`)
  const problem = findSshProblem(url, ssh)
  if (problem !== null)
    throw invalid(
      problem.of === 'key'
        ? `${SETTING_VARIABLES.dockerSshKeyFile}: ${keyFile} ${problem.what}`
        : `${SETTING_VARIABLES.dockerSshKnownHosts}: ${knownHostsFile} ${problem.what}`,
    )
  return ssh
}

async function readNamed(setting: 'dockerCertPath' | 'dockerSshKeyFile' | 'dockerSshKnownHosts', file: string) {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw invalid(`${SETTING_VARIABLES[setting]}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** A socket that is not there yet is no fault of the settings: its jobs are retried until it is. */
async function groupOfSocket(file: string): Promise<number | null> {
  return stat(file).then(
    ({ gid }) => gid,
    () => null,
  )
}

function invalid(problem: string): ErgonError {
  return new ErgonError('CONFIG_INVALID', problem)
}
