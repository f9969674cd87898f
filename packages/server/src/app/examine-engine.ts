import { stat } from 'node:fs/promises'
import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import type { Engine } from '../runners/docker/engine.ts'
import { isLocalEngine } from '../runners/docker/engine-config.ts'
import type { Finding } from './doctor.ts'
import { readEngineAccess } from './engine-access.ts'

const CHECK = 'container engine'
const GROUP_MAY_USE = 0o060

/** Whether docker jobs can be served here: the engine answers, can hold a job to its limits, and a worker may use it. */
export async function examineEngine(settings: Settings): Promise<Finding> {
  const { dockerHost: url } = settings
  if (url === null)
    return {
      check: CHECK,
      ok: true,
      detail: `none: docker jobs are not served (${SETTING_VARIABLES.dockerHost})`,
      remedy: null,
      isEssential: false,
    }
  let engine: Engine | null = null
  try {
    const access = await readEngineAccess(settings)
    if (access === null) throw new Error('no engine is named')
    // A third of all the code that a command loads, and few ask an engine.
    engine = new (await import('../runners/docker/engine.ts')).Engine(access.engine)
    const { ServerVersion: version = 'of unknown version' } = await engine.requireFit()
    const closed = isLocalEngine(access.engine) ? await findClosedSocket(url.slice('unix://'.length)) : null
    if (closed !== null) return lacking(closed, 'give the socket to a group, for instance docker, with mode 0660')
    return {
      check: CHECK,
      ok: true,
      detail: `${version} at ${url}, of a worker of its own`,
      remedy: null,
      isEssential: false,
    }
  } catch (error) {
    const detail = error instanceof Error ? error.message : String(error)
    return lacking(detail, `start the engine, or correct ${SETTING_VARIABLES.dockerHost}`)
  } finally {
    engine?.close()
  }
}

/** The worker is neither root nor the socket's owner: it gets the socket's group, and nothing more. */
async function findClosedSocket(file: string): Promise<string | null> {
  if (process.getuid?.() !== 0) return null
  const { mode } = await stat(file)
  return (mode & GROUP_MAY_USE) === GROUP_MAY_USE ? null : `${file} is closed to its group, and so to the worker`
}

function lacking(detail: string, remedy: string): Finding {
  return { check: CHECK, ok: false, detail, remedy, isEssential: false }
}
