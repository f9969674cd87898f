import { constants } from 'node:fs'
import { chmod, chown, copyFile, link, mkdir, open, stat, statfs, unlink } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { isStorageFull, storageFull } from '../platform/errors/storage-full.ts'
import type { ArtifactStore } from './artifact-store.ts'

/** Artifacts as read-only files `<folder>/sha256/<first two digits>/<digest>`, put in place by one atomic link. */
export class FilesystemArtifactStore implements ArtifactStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Where a digest's file is, or would be. */
  pathOf(digest: string): string {
    const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1]
    if (hex === undefined)
      throw new ErgonError(
        'ARTIFACT_DIGEST_INVALID',
        `"${digest}" is not a digest: expected "sha256:" and 64 lower-case hexadecimal digits`,
      )
    return path.join(this.#folder, 'sha256', hex.slice(0, 2), hex)
  }

  async put(source: string, digest: string): Promise<void> {
    const target = this.pathOf(digest)
    if ((await this.size(digest)) !== null) return
    const staged = `${target}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`
    try {
      await this.#makeFolders(path.dirname(target))
      await copyFile(source, staged, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
      await this.#handOver(staged)
      await syncFile(staged)
      // link refuses an existing name: whoever comes first wins, and equal digests are equal bytes.
      await link(staged, target).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'EEXIST') throw error
      })
    } catch (error) {
      throw isStorageFull(error) ? storageFull('the artifact store', this.#folder, error) : error
    } finally {
      await unlink(staged).catch(() => {})
    }
  }

  async size(digest: string): Promise<number | null> {
    try {
      return (await stat(this.pathOf(digest))).size
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
      throw error
    }
  }

  async read(digest: string): Promise<Readable> {
    try {
      const file = await open(this.pathOf(digest), constants.O_RDONLY | constants.O_NOFOLLOW)
      return file.createReadStream()
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new ErgonError(
        'ARTIFACT_NOT_FOUND',
        `no artifact ${digest} in ${this.#folder}; was it made on another machine or pruned?`,
      )
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#folder)
    return bavail * bsize
  }

  async #makeFolders(folder: string): Promise<void> {
    for (const each of [path.dirname(folder), folder]) {
      await mkdir(each, { mode: 0o755 }).then(
        () => this.#handOver(each),
        (error: NodeJS.ErrnoException) => {
          if (error.code !== 'EEXIST') throw error
        },
      )
    }
  }

  /** What root puts in (a dataset uploaded from the command line) belongs to the worker like everything else. */
  async #handOver(file: string): Promise<void> {
    const owner = await stat(this.#folder)
    if (process.getuid?.() === 0 && owner.uid !== 0) await chown(file, owner.uid, owner.gid)
    if (file.endsWith('.tmp')) await chmod(file, 0o444)
  }
}

async function syncFile(file: string): Promise<void> {
  const handle = await open(file, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
