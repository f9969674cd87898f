import { randomInt } from 'node:crypto'
import { lstat, opendir, unlink } from 'node:fs/promises'
import path from 'node:path'

/** Nobody takes so long to store a file; who did finds it gone, fails, and is tried again. */
const ABANDONED_MS = 24 * 60 * 60_000
const STAGED = /^[0-9a-f]{64}\..+\.tmp$/
const FOLDERS = 256

/**
 * Removes files that were staged in the artifact store by processes that were killed before they linked them. Its user must
 * be the folders' owner, the worker: they are sticky, so the API can remove only its own.
 */
export class StagedFileSweep {
  readonly #folder: string
  // Workers that share a store begin at different places.
  #next = randomInt(FOLDERS)

  constructor(artifacts: string) {
    this.#folder = path.join(artifacts, 'sha256')
  }

  /** Looks through one of the store's 256 folders, the next one each time; gives how many files it removed. */
  async turn(): Promise<number> {
    const folder = path.join(this.#folder, (this.#next++ % FOLDERS).toString(16).padStart(2, '0'))
    let removed = 0
    try {
      for await (const { name } of await opendir(folder, { bufferSize: 1_024 })) {
        if (!STAGED.test(name)) continue
        const file = path.join(folder, name)
        const found = await lstat(file)
        if (!found.isFile() || Date.now() - found.mtimeMs < ABANDONED_MS) continue
        await unlink(file)
        removed++
      }
    } catch (error) {
      // No file was stored there yet, or another worker removed one at the same moment: the rest has its turn again.
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
    }
    return removed
  }
}
