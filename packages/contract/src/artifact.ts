import { z } from 'zod'

/** What an artifact is for; follows from its format unless a thumbnail job says otherwise. */
export const ARTIFACT_KINDS = ['plot', 'export', 'preview', 'dataset'] as const
export type ArtifactKind = (typeof ARTIFACT_KINDS)[number]

/** Every format a service may allow, with the kind and content type that follow from it. */
export const ARTIFACT_FORMATS = {
  png: { kind: 'plot', contentType: 'image/png' },
  svg: { kind: 'plot', contentType: 'image/svg+xml' },
  jpeg: { kind: 'plot', contentType: 'image/jpeg' },
  gif: { kind: 'plot', contentType: 'image/gif' },
  pdf: { kind: 'export', contentType: 'application/pdf' },
  html: { kind: 'export', contentType: 'text/html' },
  txt: { kind: 'export', contentType: 'text/plain' },
  json: { kind: 'dataset', contentType: 'application/json' },
  csv: { kind: 'dataset', contentType: 'text/csv' },
  parquet: { kind: 'dataset', contentType: 'application/vnd.apache.parquet' },
  npy: { kind: 'dataset', contentType: 'application/x-npy' },
} as const satisfies Record<string, { kind: ArtifactKind; contentType: string }>
export type ArtifactFormat = keyof typeof ARTIFACT_FORMATS

export const digestSchema = z
  .string()
  .regex(/^sha256:[0-9a-f]{64}$/, 'a digest is "sha256:" and 64 lower-case hexadecimal digits')

export const artifactSchema = z
  .object({
    artifact_id: z.uuid(),
    kind: z.enum(ARTIFACT_KINDS),
    format: z.string(),
    digest: digestSchema,
    size_bytes: z.number().int().nonnegative(),
    uri: z.string(),
    content_type: z.string(),
    metadata: z.object({
      name: z.string(),
      width: z.number().nullable(),
      height: z.number().nullable(),
    }),
  })
  .meta({ id: 'Artifact' })
/** One immutable file a job produced; `uri` is `ergon://artifacts/sha256/<hex>`, never a path. */
export type Artifact = z.infer<typeof artifactSchema>

/** The location-free name of a stored digest. */
export function artifactUri(digest: string): string {
  return `ergon://artifacts/sha256/${digest.slice('sha256:'.length)}`
}
