import type { Readable } from 'node:stream'
import { extract, type Header } from 'tar-stream'
import type { CollectionLimit, CollectionViolation } from '../../domain/sandbox-evidence.ts'
import type { ByteSink } from '../../sandbox/sandbox.ts'
import { nameProblem, printableName } from './artifact-name.ts'

const MAX_VIOLATIONS = 100
/** Folders and what is in them are no artifacts, but each is an entry of the archive that is read. */
const MAX_ENTRIES = 10_000

export interface CollectOptions {
  artifactCount: number
  artifactBytes: number
  /** What the folder has room for: a file below a folder of it that claims more is full of holes, and is read for ever. */
  folderBytes: number
  open(name: string): Promise<ByteSink>
  signal: AbortSignal
}

export interface Collected {
  violations: CollectionViolation[]
  limits: CollectionLimit[]
}

/**
 * Reads the archive of an output folder, which a job has filled: names are checked, only plain files directly in it
 * are taken, and a limit ends the reading at once. Nothing is written under a name of the archive.
 */
export async function collectOutput(archive: Readable, options: CollectOptions): Promise<Collected> {
  const collection = new Collection(options)
  const reading = extract()
  const { promise: broken, reject } = Promise.withResolvers<never>()
  broken.catch(() => {})
  for (const stream of [archive, reading]) stream.on('error', reject)
  const stop = () => reject(new Error('collecting the output took too long'))
  options.signal.addEventListener('abort', stop, { once: true })
  archive.pipe(reading)
  // Stepped by hand: a loop that is left early waits for the entry it stands at, which may be a terabyte.
  const entries = reading[Symbol.asyncIterator]()
  const read = async () => {
    for (;;) {
      const step = await entries.next()
      if (step.done === true || !(await collection.take(step.value.header, step.value))) return
      step.value.resume()
    }
  }
  try {
    await Promise.race([read(), broken])
    return collection.collected
  } finally {
    options.signal.removeEventListener('abort', stop)
    archive.unpipe(reading)
    reading.destroy()
    archive.destroy()
  }
}

/** What has been read of an archive, and how much of it. */
class Collection {
  readonly collected: Collected = { violations: [], limits: [] }
  readonly #options: CollectOptions
  #entries = 0
  #files = 0
  #bytes = 0
  #skippedBytes = 0

  constructor(options: CollectOptions) {
    this.#options = options
  }

  /** Takes one entry or leaves it; false where the reading ends. */
  async take(header: Header, entry: AsyncIterable<unknown>): Promise<boolean> {
    const { violations, limits } = this.collected
    const { artifactCount, open } = this.#options
    this.#entries += 1
    if (this.#entries > MAX_ENTRIES) {
      limits.push({ counter: 'artifact_count', limit: artifactCount, observed: this.#entries })
      return false
    }
    const place = placeOf(header.name)
    if (place === null || header.type === 'directory') return this.#skip(header)
    const code = problemOf(header, place)
    if (code !== null) {
      violations.push({ path: `output/${printableName(place)}`, code })
      return violations.length < MAX_VIOLATIONS
    }
    this.#files += 1
    this.#bytes += header.size
    const limit = limitOf(this.#files, this.#bytes, this.#options)
    if (limit !== null) {
      limits.push(limit)
      return false
    }
    await receive(entry, await open(place))
    return true
  }

  #skip({ size }: Header): boolean {
    const { artifactBytes, folderBytes } = this.#options
    this.#skippedBytes += size
    if (this.#skippedBytes <= folderBytes) return true
    this.collected.limits.push({ counter: 'artifact_bytes', limit: artifactBytes, observed: this.#skippedBytes })
    return false
  }
}

/** The name directly in the folder; null for the folder itself and for what lies deeper. */
function placeOf(name: string): string | null {
  const rest = name.replace(/^(\.?\/)+/, '')
  if (rest === '' || rest === '.') return null
  // A slash at the end is a folder's.
  return rest.replace(/\/$/, '').includes('/') ? null : rest
}

function problemOf({ type, linkname }: Header, place: string): string | null {
  if (type === 'symlink') return 'SYMLINK'
  if (type === 'link') return 'HARD_LINK'
  // A contiguous or sparse file would be read otherwise than it is described.
  if (type !== 'file' || (linkname !== null && linkname !== '')) return 'NOT_REGULAR'
  return nameProblem(place)
}

function limitOf(
  files: number,
  bytes: number,
  { artifactCount, artifactBytes }: CollectOptions,
): CollectionLimit | null {
  if (files > artifactCount) return { counter: 'artifact_count', limit: artifactCount, observed: files }
  return bytes > artifactBytes ? { counter: 'artifact_bytes', limit: artifactBytes, observed: bytes } : null
}

async function receive(entry: AsyncIterable<unknown>, sink: ByteSink): Promise<void> {
  for await (const chunk of entry) if (Buffer.isBuffer(chunk)) await sink.write(chunk)
  await sink.finish()
}
