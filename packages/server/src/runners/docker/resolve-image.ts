import type { AuthConfig } from 'dockerode'
import { z } from 'zod'
import type { DockerConfig } from './docker-config.ts'
import { DockerFailure } from './docker-failure.ts'
import { type Engine, reasonOf, statusOf } from './engine.ts'
import { type EngineImage, isPinnedImage, parseReference, registryOf } from './image-reference.ts'

/** The image that a container is made of: from here on it is known by its id alone. */
export interface ResolvedImage {
  id: string
  architecture: string
  /** Folders that it declares as volumes. */
  volumes: string[]
}

const inspectedImageSchema = z.object({
  Id: z.string(),
  RepoDigests: z
    .array(z.string())
    .nullish()
    .transform((digests) => digests ?? []),
  Architecture: z.string().default(''),
  Config: z.object({ Volumes: z.record(z.string(), z.unknown()).nullish() }).nullish(),
})
type InspectedImage = z.infer<typeof inspectedImageSchema>

/** Pulls under way by image and user: jobs that start together wait for one. */
type Pulls = Map<string, Promise<void>>

/** Finds images as the pull policy says, and looks at what the engine really has before anything is made of it. */
export class ImageResolver {
  readonly #engine: Engine
  readonly #pulls: Pulls = new Map()

  constructor(engine: Engine) {
    this.#engine = engine
  }

  /** Throws DockerFailure: the image is absent, cannot be pulled, or is not what its digest pins. */
  async resolve(config: DockerConfig, signal: AbortSignal): Promise<ResolvedImage> {
    const { image, pullPolicy } = config
    let pullProblem: string | null = null
    let found = pullPolicy === 'always' ? null : await this.#find(image, signal)
    if (found === null && pullPolicy !== 'never') {
      pullProblem = await this.#pull(config, signal)
      // What "always" could not pull is not taken from yesterday.
      if (pullProblem === null || pullPolicy !== 'always') found = await this.#find(image, signal)
    }
    if (found === null) throw await this.#absence(config, pullProblem, signal)
    const { digest } = parseReference(image)
    if (digest !== null && !isPinnedImage(found, digest)) throw drift(image, found)
    return {
      id: found.Id,
      architecture: found.Architecture,
      volumes: Object.keys(found.Config?.Volumes ?? {}),
    }
  }

  /** A pinned image that was never in a registry has no manifest there: its digest is its id. */
  async #find(image: string, signal: AbortSignal): Promise<InspectedImage | null> {
    const { digest } = parseReference(image)
    const found = await this.#inspect(image, signal)
    return found === null && digest !== null ? this.#inspect(digest, signal) : found
  }

  async #inspect(reference: string, signal: AbortSignal): Promise<InspectedImage | null> {
    try {
      const found: unknown = await untilAborted(this.#engine.api.getImage(reference).inspect(), signal)
      return inspectedImageSchema.parse(found)
    } catch (error) {
      if (statusOf(error) === 404) return null
      throw error
    }
  }

  /** Why nothing was pulled, or null. */
  async #pull({ image, login }: DockerConfig, signal: AbortSignal): Promise<string | null> {
    const key = JSON.stringify([image, login])
    let pull = this.#pulls.get(key)
    if (pull === undefined) {
      pull = this.#fetch(image, login).finally(() => this.#pulls.delete(key))
      this.#pulls.set(key, pull)
    }
    try {
      await untilAborted(pull, signal)
      return null
    } catch (error) {
      signal.throwIfAborted()
      return reasonOf(error)
    }
  }

  async #fetch(image: string, login: DockerConfig['login']): Promise<void> {
    const reference = parseReference(image)
    const options: { authconfig?: AuthConfig } = {}
    if (login !== null) options.authconfig = { ...login, serveraddress: registryOf(reference) }
    const { tag, digest } = reference
    // Without a tag an engine pulls every tag there is.
    const stream = await this.#engine.api.pull(tag === null && digest === null ? `${image}:latest` : image, options)
    // The answer is 200 as soon as the pull begins: what became of it is said on the way.
    await new Promise<void>((resolve, reject) => {
      this.#engine.api.modem.followProgress(stream, (error) => (error === null ? resolve() : reject(error)))
    })
  }

  async #absence(config: DockerConfig, pullProblem: string | null, signal: AbortSignal): Promise<DockerFailure> {
    const { image, pullPolicy } = config
    const { name, tag, digest } = parseReference(image)
    const other = digest === null ? null : await this.#inspect(tag === null ? name : `${name}:${tag}`, signal)
    if (other !== null) return drift(image, other)
    if (pullProblem !== null)
      return new DockerFailure(
        'DEPENDENCY_ERROR',
        'UPSTREAM_IMAGE_PULL',
        `the image ${image} could not be pulled: ${pullProblem}`,
      )
    return new DockerFailure(
      'DEPENDENCY_ERROR',
      'IMAGE_MISSING',
      `the engine does not have the image ${image}, and pull_policy ${pullPolicy} fetches none: load it, or change the policy`,
    )
  }
}

function drift(image: string, { Id, RepoDigests }: EngineImage): DockerFailure {
  const known = [Id, ...(RepoDigests ?? [])].slice(0, 5).join(', ')
  return new DockerFailure(
    'VALIDATION_ERROR',
    'IMAGE_DIGEST_MISMATCH',
    `the image ${image} is pinned, and the engine has another one under its name: ${known}`,
  )
}

/** Whoever gives up waiting leaves the pull to the others. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
