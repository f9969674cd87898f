import { chmod, mkdir, mkdtemp, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { Settings } from '../config/settings.ts'
import type { DockerBait } from '../conformance/attack-registry.ts'
import { archiveOf } from '../runners/docker/archive.ts'
import { Engine } from '../runners/docker/engine.ts'
import { progressOf } from '../runners/docker/progress.ts'
import { readEngineAccess } from './engine-access.ts'

const REPOSITORY = 'ergon-attack-matrix'
const TAG = '1'
const IMAGE = `${REPOSITORY}:${TAG}`

/** What hostile docker jobs need: two images of one name, of which the engine keeps one, and a link in a folder. */
export class AttackBait {
  readonly #settings: Settings
  #engine: Engine | null = null
  #folder: string | null = null

  constructor(settings: Settings) {
    this.#settings = settings
  }

  /** Null where the settings name no engine; throws where it is away or cannot hold a job to its limits. */
  async lay(home: string): Promise<DockerBait | null> {
    const access = await readEngineAccess(this.#settings)
    if (access === null) return null
    this.#engine = new Engine(access.engine)
    await this.#engine.requireFit()
    const pinned = await this.#importImage('meant')
    await this.#importImage('another')
    await this.#engine.api.getImage(pinned).remove()
    this.#folder = await mkdtemp(path.join(tmpdir(), 'ergon-attack-'))
    // The worker has to look at it, and refuse it for what it is.
    await chmod(this.#folder, 0o755)
    const [allowed, secret] = [path.join(this.#folder, 'allowed'), path.join(this.#folder, 'secret')]
    for (const each of [allowed, secret]) await mkdir(each, { mode: 0o755 })
    await symlink(secret, path.join(allowed, 'link'))
    return { image: IMAGE, driftedImage: `${IMAGE}@${pinned}`, linkInside: path.join(allowed, 'link'), home }
  }

  async remove(): Promise<void> {
    if (this.#folder !== null) await rm(this.#folder, { recursive: true, force: true })
    await this.#engine?.api
      .getImage(IMAGE)
      .remove({ force: true })
      .catch(() => {})
    this.#engine?.close()
    this.#engine = null
    this.#folder = null
  }

  /** Its id. Nothing in it can run. */
  async #importImage(content: string): Promise<string> {
    if (this.#engine === null) throw new Error('there is no engine')
    const { api } = this.#engine
    const archive = await archiveOf({ name: 'a', mode: 0o444, content })
    await progressOf(api, await api.importImage(Readable.from([archive]), { repo: REPOSITORY, tag: TAG }))
    return (await api.getImage(IMAGE).inspect()).Id
  }
}
