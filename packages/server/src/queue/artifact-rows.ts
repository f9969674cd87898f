import type { ArtifactRecord } from './types.ts'

/** Artifacts as the SQL functions read them, or null when there are none. The name is a column of its own. */
export function artifactRowsJson(artifacts: readonly ArtifactRecord[]): string | null {
  if (artifacts.length === 0) return null
  return JSON.stringify(
    artifacts.map(
      ({ metadata: { name, ...metadata }, artifact_id, kind, format, digest, size_bytes, content_type }) => ({
        artifact_id,
        kind,
        format,
        name,
        digest,
        size_bytes,
        content_type,
        metadata,
      }),
    ),
  )
}
