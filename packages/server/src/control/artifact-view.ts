import { type Artifact, artifactUri } from '@ergon/contract'
import { z } from 'zod'

export const ARTIFACT_COLUMNS = 'artifact_id, kind, format, name, digest, size_bytes, content_type, metadata'

export const artifactRowSchema = z.object({
  artifact_id: z.string(),
  kind: z.enum(['plot', 'export', 'preview', 'dataset']),
  format: z.string(),
  name: z.string(),
  digest: z.string(),
  size_bytes: z.coerce.number(),
  content_type: z.string(),
  metadata: z.object({ width: z.number().nullish(), height: z.number().nullish() }),
})

export function toArtifact({
  artifact_id,
  kind,
  format,
  name,
  digest,
  size_bytes,
  content_type,
  metadata,
}: z.infer<typeof artifactRowSchema>): Artifact {
  return {
    artifact_id,
    kind,
    format,
    digest,
    size_bytes,
    uri: artifactUri(digest),
    content_type,
    metadata: { name, width: metadata.width ?? null, height: metadata.height ?? null },
  }
}
