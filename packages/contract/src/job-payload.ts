import { z } from 'zod'
import { digestSchema } from './artifact.ts'
import { ISOLATIONS } from './isolation.ts'
import { limitsSchema } from './limits.ts'

/** Job types the contract names; only some have an implementation, the others end as UNSUPPORTED_JOB_TYPE. */
export const JOB_TYPES = ['object_execute', 'object_render', 'document_export', 'thumbnail_generate'] as const
export type JobType = (typeof JOB_TYPES)[number]

/** The schema major this build understands; another major is refused, another minor is read as far as it is known. */
export const SCHEMA_MAJOR = 1
export const SCHEMA_VERSION = '1.0'

const datasetDependencySchema = z.object({
  kind: z.literal('dataset'),
  digest: digestSchema,
  /** File name under /workspace/input; defaults to the digest's hexadecimal part. */
  name: z.exactOptional(z.string()),
})
const objectDependencySchema = z.object({
  kind: z.literal('object'),
  id: z.string(),
})

const inputObjectSchema = z.object({
  type: z.string(),
  content: z.object({ format: z.string(), value: z.string() }),
  dependencies: z.array(z.discriminatedUnion('kind', [datasetDependencySchema, objectDependencySchema])).default([]),
  runtime: z.object({
    language: z.string(),
    entrypoint: z.exactOptional(z.string()),
    parameters: z.record(z.string(), z.unknown()).default({}),
  }),
})

export const jobPayloadSchema = z.object({
  schema_version: z.string().regex(/^\d+\.\d+$/, 'expected "MAJOR.MINOR", for instance "1.0"'),
  job_id: z.uuid(),
  job_type: z.string(),
  created_at: z.exactOptional(z.string()),
  workspace_id: z.uuid().nullish(),
  project_id: z.string().nullish(),
  document_id: z.string().nullish(),
  document_revision_id: z.string().nullish(),
  target: z.object({ object_id: z.string().nullish() }).nullish(),
  execution_key: z.string().nullish(),
  priority: z.enum(['low', 'normal', 'high']).default('normal'),
  requested_by: z.object({ user_id: z.string().nullish() }).nullish(),
  limits: limitsSchema.prefault({}),
  environment: z.object({
    language: z.string(),
    env_version: z.string(),
    network_access: z.literal('disabled').default('disabled'),
    /** How the sandbox may start; a service's policy can require `fresh`. */
    isolation: z.enum(ISOLATIONS).default('warm'),
    /** What random numbers are derived from: equal jobs draw equal ones, unless `entropy` is asked for. */
    seed: z.enum(['execution_key', 'entropy']).default('execution_key'),
  }),
  inputs: z.object({
    object: inputObjectSchema,
    dependency_snapshots: z
      .array(
        z.object({
          kind: z.string(),
          id: z.exactOptional(z.string()),
          content_digest: z.exactOptional(digestSchema),
          resolved_runtime: z.unknown().optional(),
        }),
      )
      .default([]),
  }),
  output_spec: z
    .object({
      return_stdout: z.boolean().default(true),
      return_stderr: z.boolean().default(true),
      formats: z.array(z.string()).default(['json', 'png', 'svg']),
    })
    .prefault({}),
})
/** What a platform sends: snake_case JSON, stored as the row's input_data and read tolerantly by the worker. */
export type JobPayload = z.infer<typeof jobPayloadSchema>
/** A payload before defaults are filled in, as a submitter writes it. */
export type JobPayloadInput = z.input<typeof jobPayloadSchema>
