import { readFile, stat } from 'node:fs/promises'
import path from 'node:path'
import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { type EngineConfig, isLocalEngine } from '../runners/docker/engine-config.ts'

/** How a worker reaches the operator's container engine. */
export interface EngineAccess {
  engine: EngineConfig
  /** The group that may use its socket; null where there is no socket, or its owner is who runs the worker. */
  socketGroup: number | null
}

/** What the settings name, read with the rights of whoever starts the worker; null when they name no engine. Throws CONFIG_INVALID. */
export async function readEngineAccess({ dockerHost: url, dockerCertPath }: Settings): Promise<EngineAccess | null> {
  if (url === null) return null
  const engine = { url, tls: dockerCertPath === null ? null : await readCertificates(dockerCertPath) }
  if (isLocalEngine(engine)) return { engine, socketGroup: await groupOfSocket(url.slice('unix://'.length)) }
  if (engine.tls === null)
    throw new ErgonError(
      'CONFIG_INVALID',
      `${SETTING_VARIABLES.dockerHost} is ${url}, without certificates open to whoever reaches it: set ${SETTING_VARIABLES.dockerCertPath} to the folder of ca.pem, cert.pem and key.pem`,
    )
  return { engine, socketGroup: null }
}

async function readCertificates(folder: string): Promise<EngineConfig['tls']> {
  const read = async (name: string) => {
    try {
      return await readFile(path.join(folder, name), 'utf8')
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error)
      throw new ErgonError('CONFIG_INVALID', `${SETTING_VARIABLES.dockerCertPath}: ${reason}`)
    }
  }
  const [ca, cert, key] = await Promise.all(['ca.pem', 'cert.pem', 'key.pem'].map(read))
  return { ca: ca ?? '', cert: cert ?? '', key: key ?? '' }
}

/** A socket that is not there yet is no fault of the settings: its jobs are retried until it is. */
async function groupOfSocket(file: string): Promise<number | null> {
  return stat(file).then(
    ({ gid }) => gid,
    () => null,
  )
}
