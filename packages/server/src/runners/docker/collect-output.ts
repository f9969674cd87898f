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
  const collected: Collected = { violations: [], limits: [] }
  const reading = extract()
  archive.on('error', (error) => reading.destroy(error))
  archive.pipe(reading)
  const stop = () => reading.destroy(new Error('collecting the output took too long, or was ended'))
  options.signal.addEventListener('abort', stop, { once: true })
  let [entries, files, bytes] = [0, 0, 0]
  try {
    for await (const entry of reading) {
      const { header } = entry
      const place = placeOf(header.name)
      entries += 1
      if (entries > MAX_ENTRIES) {
        collected.limits.push({ counter: 'artifact_count', limit: options.artifactCount, observed: entries })
        break
      }
      if (place === null || header.type === 'directory') {
        entry.resume()
        continue
      }
      const code = problemOf(header, place)
      if (code !== null) {
        collected.violations.push({ path: `output/${printableName(place)}`, code })
        if (collected.violations.length >= MAX_VIOLATIONS) break
        entry.resume()
        continue
      }
      const { size } = header
      files += 1
      bytes += size
      const limit = limitOf(files, bytes, options)
      if (limit !== null) {
        collected.limits.push(limit)
        break
      }
      await receive(entry, await options.open(place))
    }
    return collected
  } finally {
    options.signal.removeEventListener('abort', stop)
    archive.unpipe(reading)
    archive.on('error', () => {})
    archive.destroy()
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
  if (type !== 'file' || linkname !== null && linkname !== '') return 'NOT_REGULAR'
  return nameProblem(place)
}

function limitOf(files: number, bytes: number, { artifactCount, artifactBytes }: CollectOptions): CollectionLimit | null {
  if (files > artifactCount) return { counter: 'artifact_count', limit: artifactCount, observed: files }
  return bytes > artifactBytes ? { counter: 'artifact_bytes', limit: artifactBytes, observed: bytes } : null
}

async function receive(entry: AsyncIterable<unknown>, sink: ByteSink): Promise<void> {
  for await (const chunk of entry) if (Buffer.isBuffer(chunk)) await sink.write(chunk)
  await sink.finish()
}
