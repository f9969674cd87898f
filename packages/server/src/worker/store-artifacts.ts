import { randomUUID } from 'node:crypto'
import { type Artifact, artifactUri } from '@ergon/contract'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import type { ProducedArtifact } from '../runners/runner.ts'

/** Puts each file into the store by its digest and describes it; the rows are written with the job's result. */
export async function storeArtifacts(produced: readonly ProducedArtifact[], store: ArtifactStore): Promise<Artifact[]> {
  const stored: Artifact[] = []
  for (const { file, name, kind, format, contentType, width, height } of produced) {
    await store.put(file.path, file.digest)
    stored.push({
      artifact_id: randomUUID(),
      kind,
      format,
      digest: file.digest,
      size_bytes: file.sizeBytes,
      uri: artifactUri(file.digest),
      content_type: contentType,
      metadata: { name, width, height },
    })
  }
  return stored
}
