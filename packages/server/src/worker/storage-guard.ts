import { statfs } from 'node:fs/promises'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'

/** Below this a worker claims nothing: the jobs it holds still need room to end. */
const MIN_FREE_BYTES = 64 * 1024 * 1024
const RECHECK_MS = 5_000

/** Stops claiming while the spool or the store has no room, whoever noticed. */
export class StorageGuard {
  readonly #store: ArtifactStore
  readonly #spoolFolder: string
  #checkedAt = Number.NEGATIVE_INFINITY
  #hasRoom = true

  constructor(store: ArtifactStore, spoolFolder: string) {
    this.#store = store
    this.#spoolFolder = spoolFolder
  }

  /** True when a worker may claim; asks the file systems at most every five seconds. */
  async hasRoom(): Promise<boolean> {
    if (performance.now() - this.#checkedAt < RECHECK_MS) return this.#hasRoom
    this.#checkedAt = performance.now()
    const spool = await statfs(this.#spoolFolder)
    const free = Math.min(spool.bavail * spool.bsize, await this.#store.freeBytes())
    this.#hasRoom = free >= MIN_FREE_BYTES
    return this.#hasRoom
  }

  /** A write just failed for lack of space: claim nothing until the next check says otherwise. */
  reportFull(): void {
    this.#hasRoom = false
    this.#checkedAt = performance.now()
  }
}
