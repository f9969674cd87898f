import { realpath, stat } from 'node:fs/promises'
import path from 'node:path'
import { isBelow } from '../../registry/check-service.ts'
import type { ResolvedVolume } from './container-spec.ts'
import type { DockerConfig } from './docker-config.ts'
import { DockerFailure } from './docker-failure.ts'

/** Folders whose content is the kernel's, or gives the host away; whatever a policy allows. */
const NEVER = ['/proc', '/sys', '/dev', '/run', '/boot']

export interface HostPathRules {
  isLocal: boolean
  /** Besides the kernel's: the engine's own data and socket, Ergon's data folder. */
  forbidden: readonly string[]
}

/**
 * The host folders of a service as they really are at this moment: every link is followed first, then each rule is
 * asked. Throws DockerFailure. The engine gets the real path, so a link that is changed later does not count.
 */
export async function resolveVolumes(
  { volumes, allowedHostPaths }: Pick<DockerConfig, 'volumes' | 'allowedHostPaths'>,
  { isLocal, forbidden }: HostPathRules,
): Promise<ResolvedVolume[]> {
  if (volumes.length === 0) return []
  if (!isLocal)
    throw refused('volumes name folders of this machine, and the container engine is another one: take them out')
  const allowed = await Promise.all(allowedHostPaths.map(realPathOrSame))
  const never = [...NEVER, ...(await Promise.all(forbidden.map(realPathOrSame)))]
  const resolved: ResolvedVolume[] = []
  for (const { hostPath, containerPath, isReadOnly } of volumes) {
    const realPath = await existingRealPath(hostPath)
    const problem = findProblem(realPath, allowed, never)
    if (problem !== null)
      throw refused(`volume ${hostPath}${realPath === hostPath ? '' : ` is really ${realPath}, which`} ${problem}`)
    resolved.push({ realPath, containerPath, isReadOnly })
  }
  return resolved
}

/** Why a real path must not be mounted, or null. */
export function findProblem(realPath: string, allowed: readonly string[], never: readonly string[]): string | null {
  if (!allowed.some((root) => isBelow(realPath, root))) return 'is below none of allowed_host_paths'
  const place = never.find((each) => isBelow(realPath, each) || isBelow(each, realPath))
  return place === undefined ? null : `would show ${place} to the container`
}

async function existingRealPath(hostPath: string): Promise<string> {
  try {
    const found = await realpath(hostPath)
    const kind = await stat(found)
    if (kind.isDirectory() || kind.isFile()) return found
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown'
    throw refused(`volume ${hostPath} cannot be looked at by the worker (${code})`)
  }
  throw refused(`volume ${hostPath} is neither a folder nor a file`)
}

/** A place that is not there yet is compared as written. */
async function realPathOrSame(place: string): Promise<string> {
  return realpath(place).catch(() => path.resolve(place))
}

function refused(message: string): DockerFailure {
  return new DockerFailure('VALIDATION_ERROR', 'VOLUME_REFUSED', message)
}
