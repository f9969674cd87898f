import { randomUUID } from 'node:crypto'
import { type Artifact, artifactUri } from '@ergon/contract'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import type { ProducedArtifact } from '../runners/runner.ts'

/** Each file waits for the disk twice, and file systems write out together what is asked for at a time. */
const AT_ONCE = 4

/** Puts each file into the store by its digest and describes it; the rows are written with the job's result. */
export async function storeArtifacts(produced: readonly ProducedArtifact[], store: ArtifactStore): Promise<Artifact[]> {
  for (let first = 0; first < produced.length; first += AT_ONCE) {
    const batch = produced.slice(first, first + AT_ONCE)
    // All of them end before any error is told: whoever hears of it removes the files.
    const puts = await Promise.allSettled(batch.map(({ file }) => store.put(file.path, file.digest)))
    for (const put of puts) if (put.status === 'rejected') throw put.reason
  }
  return produced.map(({ file, name, kind, format, contentType, width, height }) => ({
    artifact_id: randomUUID(),
    kind,
    format,
    digest: file.digest,
    size_bytes: file.sizeBytes,
    uri: artifactUri(file.digest),
    content_type: contentType,
    metadata: { name, width, height },
  }))
}
