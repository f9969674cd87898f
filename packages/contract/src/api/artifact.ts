import { z } from 'zod'
import { artifactSchema, digestSchema } from '../artifact.ts'

export const artifactListSchema = z.object({ items: z.array(artifactSchema) }).meta({ id: 'ArtifactList' })

/** Longest and usual life of a signed address, in seconds: it cannot be revoked one by one. */
export const MAX_SIGNED_SECONDS = 3_600
export const SIGNED_SECONDS = 300

export const signedUrlRequestSchema = z
  .object({ expires_in_seconds: z.number().int().min(1).max(MAX_SIGNED_SECONDS).default(SIGNED_SECONDS) })
  .meta({ id: 'SignedUrlRequest' })

export const signedUrlSchema = z
  .object({
    url: z
      .string()
      .describe('Relative to the address of the API: what a request says of its host is not to be believed'),
    expires_at: z.string(),
  })
  .meta({ id: 'SignedUrl' })
export type SignedUrl = z.infer<typeof signedUrlSchema>

/** Largest dataset that is taken over HTTP. */
export const MAX_DATASET_BYTES = 1_073_741_824

/** An uploaded file that jobs of its tenant name by its digest. */
export const datasetSchema = z
  .object({
    artifact_id: z.uuid(),
    digest: digestSchema,
    size_bytes: z.number().int().nonnegative(),
    name: z.string(),
    format: z.string(),
  })
  .meta({ id: 'Dataset' })
export type Dataset = z.infer<typeof datasetSchema>
