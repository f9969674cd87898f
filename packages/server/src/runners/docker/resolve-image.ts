import { addAbortSignal, Readable } from 'node:stream'
import type { AuthConfig } from 'dockerode'
import { z } from 'zod'
import type { DockerConfig } from './docker-config.ts'
import { DockerFailure } from './docker-failure.ts'
import { type Engine, reasonOf, statusOf } from './engine.ts'
import { type EngineImage, isPinnedImage, parseReference, registryOf } from './image-reference.ts'
import { progressOf } from './progress.ts'
import { SharedPulls, untilAborted } from './shared-pulls.ts'

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

/** Of one pull: as long as the longest docker job may take. */
const PULL_LIMIT_MS = 30 * 60_000

/** Finds images as the pull policy says, and looks at what the engine really has before anything is made of it. */
export class ImageResolver {
  readonly #engine: Engine
  readonly #pulls: SharedPulls

  constructor(engine: Engine, pullLimitMs: number = PULL_LIMIT_MS) {
    this.#engine = engine
    this.#pulls = new SharedPulls(pullLimitMs)
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
    try {
      await this.#pulls.wait(key, (stop) => this.#fetch(image, login, stop), signal)
      return null
    } catch (error) {
      signal.throwIfAborted()
      return reasonOf(error)
    }
  }

  async #fetch(image: string, login: DockerConfig['login'], signal: AbortSignal): Promise<void> {
    const { api } = this.#engine
    const reference = parseReference(image)
    const { name, tag, digest } = reference
    // An engine does not see that we have gone before it has read what was sent: so everything is in the query.
    // Without a tag it would pull every tag there is.
    const wanted = { _query: { fromImage: name, tag: digest ?? tag ?? 'latest' }, _body: {}, abortSignal: signal }
    const authconfig: AuthConfig | null = login === null ? null : { ...login, serveraddress: registryOf(reference) }
    const progress = await api.createImage(authconfig === null ? wanted : { ...wanted, authconfig })
    // The signal of the request ends with its answer's beginning.
    if (progress instanceof Readable) addAbortSignal(signal, progress)
    await progressOf(api, progress)
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
