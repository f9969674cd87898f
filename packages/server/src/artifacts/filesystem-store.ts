import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, link, mkdir, open, readdir, stat, statfs, unlink } from 'node:fs/promises'
import path from 'node:path'
import { pipeline, type Readable, Transform } from 'node:stream'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { isStorageFull, storageFull } from '../platform/errors/storage-full.ts'
import type { ArtifactStore, ByteRange } from './artifact-store.ts'
import { storeAs } from './store-as.ts'

const EVERYTHING: ByteRange = { start: 0, end: Infinity }
const MAX_REMEMBERED = 10_000

/** Artifacts as read-only files `<folder>/sha256/<first two digits>/<digest>`, put in place by one atomic link. */
export class FilesystemArtifactStore implements ArtifactStore {
  readonly #folder: string
  /**
   * Files that were right when they were last read to their end, as they were then: whoever asks for one small range after
   * another has a file hashed once. A file that was written to since has another time of change, which nobody can set back.
   */
  readonly #whole = new Map<string, string>()
  /** Folders that are on the disk themselves. */
  readonly #anchored = new Set<string>()

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

  /** On the disk when this resolves, name and bytes: rows that say so may follow. */
  async put(source: string, digest: string): Promise<void> {
    const target = this.pathOf(digest)
    try {
      if ((await this.size(digest)) === null) {
        const { uid, gid } = await stat(this.#folder)
        if (process.getuid?.() === 0 && uid !== 0) await storeAs({ uid, gid }, source, target)
        else await storeDirectly(source, target)
      }
      // Also when it was there: whoever linked it may not have come so far.
      await this.#syncNames(path.dirname(target))
    } catch (error) {
      throw isStorageFull(error) ? storageFull('the artifact store', this.#folder, error) : error
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

  async read(digest: string, range: ByteRange = EVERYTHING): Promise<Readable> {
    try {
      // The folder is the worker's: a pipe put there in a file's place must not make root wait.
      const file = await open(this.pathOf(digest), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
      const found = await file.stat({ bigint: true })
      if (found.isFile()) {
        const stamp = `${found.dev}.${found.ino}.${found.size}.${found.ctimeNs}`
        const isPart = range.start > 0 || range.end < Number(found.size) - 1
        if (isPart && this.#whole.get(digest) === stamp) return file.createReadStream({ ...range })
        return checkedAgainst(digest, file.createReadStream(), range, () => this.#remember(digest, stamp))
      }
      await file.close()
      throw new ErgonError('ARTIFACT_NOT_FOUND', `${this.pathOf(digest)} is not a regular file; it was tampered with`)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
      throw new ErgonError(
        'ARTIFACT_NOT_FOUND',
        `no artifact ${digest} in ${this.#folder}; was it made on another machine or pruned?`,
      )
    }
  }

  /** The folder's names, and once the folder's own and those of its neighbours, which are as a rule all there from the start. */
  async #syncNames(folder: string): Promise<void> {
    await syncFolder(folder)
    if (this.#anchored.has(folder)) return
    const parent = path.dirname(folder)
    const names = await readdir(parent)
    await syncFolder(parent)
    await syncFolder(this.#folder)
    for (const name of names) this.#anchored.add(path.join(parent, name))
  }

  #remember(digest: string, stamp: string): void {
    if (this.#whole.size >= MAX_REMEMBERED) this.#whole.clear()
    this.#whole.set(digest, stamp)
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.#folder)
    return bavail * bsize
  }
}

/** The bytes of the range, ending in ARTIFACT_CORRUPT, and without the last of them, unless all are those that the digest names. */
function checkedAgainst(digest: string, bytes: Readable, { start, end }: ByteRange, onWhole: () => void): Readable {
  const hash = createHash('sha256')
  let position = 0
  let held: Buffer | null = null
  const check = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      const wanted = chunk.subarray(Math.max(0, start - position), Math.max(0, end + 1 - position))
      position += chunk.length
      if (wanted.length === 0) return done()
      const before = held
      held = wanted
      return before === null ? done() : done(null, before)
    },
    flush(done) {
      const actual = `sha256:${hash.digest('hex')}`
      if (actual === digest) {
        onWhole()
        return done(null, held)
      }
      done(
        new ErgonError(
          'ARTIFACT_CORRUPT',
          `the bytes stored as ${digest} are those of ${actual}: remove that file and store the artifact again`,
        ),
      )
    },
  })
  // An error of either ends both; who reads sees it on what is returned.
  pipeline(bytes, check, () => {})
  return check
}

async function storeDirectly(source: string, target: string): Promise<void> {
  const staged = `${target}.${process.pid}.${Math.random().toString(36).slice(2)}.tmp`
  try {
    await mkdir(path.dirname(target), { recursive: true, mode: 0o755 })
    await copyFile(source, staged, constants.COPYFILE_FICLONE | constants.COPYFILE_EXCL)
    await sealFile(staged)
    // link refuses an existing name: whoever comes first wins, and equal digests are equal bytes.
    await link(staged, target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'EEXIST') throw error
    })
  } finally {
    await unlink(staged).catch(() => {})
  }
}

/** Read-only and on the disk. By descriptor: whose folder it is may have put a link or a pipe in its place. */
async function sealFile(file: string): Promise<void> {
  const handle = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    await handle.chmod(0o444)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Names in a folder outlive a power failure only once the folder is written out, whatever was done to the files. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY)
  try {
    await handle.sync()
  } catch (error) {
    // So answer file systems that do not write folders out by themselves.
    if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error
  } finally {
    await handle.close()
  }
}
