import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { Container } from 'dockerode'
import { z } from 'zod'
import { archiveOf } from './archive.ts'
import { outputHolder } from './container-spec.ts'
import type { DockerConfig } from './docker-config.ts'
import { DockerFailure } from './docker-failure.ts'
import { CALL_TIMEOUT_MS, type Engine, within } from './engine.ts'
import { holdProgram } from './hold-program.ts'
import type { ContainerOwner } from './labels.ts'
import { progressOf } from './progress.ts'

const PROGRAM = '/hold'
const REPOSITORY = 'ergon-hold'

/** Makes the containers that keep output folders, from an image that the engine is given once. */
export class OutputHolders {
  readonly #engine: Engine
  /** By architecture: one engine may run images of several. */
  readonly #imageIds = new Map<string, Promise<string>>()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** A running holder; the caller removes it. */
  async create(config: DockerConfig, owner: ContainerOwner, architecture: string): Promise<Container> {
    const imageId = this.#imageIds.get(architecture) ?? this.#ensureImage(architecture)
    this.#imageIds.set(architecture, imageId)
    try {
      const wanted = outputHolder(config, owner, { id: await imageId, program: PROGRAM })
      return await within(CALL_TIMEOUT_MS, this.#engine.api.createContainer(wanted))
    } catch (error) {
      // It could not be made, or somebody has removed it: the next attempt brings it again.
      if (this.#imageIds.get(architecture) === imageId) this.#imageIds.delete(architecture)
      throw error
    }
  }

  /** The image that the engine has, if it is ours to the byte; else a new one. By its id: what others tag like it is not run. */
  async #ensureImage(architecture: string): Promise<string> {
    const { api } = this.#engine
    const layer = await layerOf(architecture)
    const digest = `sha256:${createHash('sha256').update(layer).digest('hex')}`
    const name = `${REPOSITORY}-${architecture}`
    const known = await api
      .getImage(`${name}:latest`)
      .inspect()
      .catch(() => null)
    if (known !== null && known.RootFS?.Layers?.join() === digest) return known.Id
    const progress = await api.importImage(Readable.from([layer]), { repo: name, tag: 'latest' })
    const id = z
      .string()
      .regex(/^sha256:/)
      .safeParse((await progressOf(api, progress)).at(-1))
    if (id.success) return id.data
    return (await api.getImage(`${name}:latest`).inspect()).Id
  }
}

/** The same bytes at each time, so that they are known again by their digest. */
async function layerOf(architecture: string): Promise<Buffer> {
  const program = holdProgram(architecture)
  if (program === null)
    throw new DockerFailure(
      'VALIDATION_ERROR',
      'ARCHITECTURE_UNSUPPORTED',
      `files cannot be collected from containers of ${JSON.stringify(architecture)}: take formats and max_artifacts out of the service`,
    )
  return archiveOf({ name: PROGRAM.slice(1), mode: 0o555, content: program })
}
