import { z } from 'zod'
import { artifactSchema } from './artifact.ts'
import { failureSchema } from './failure.ts'
import { ISOLATIONS } from './isolation.ts'
import { CONTRACT_STATUSES } from './status.ts'

export const jobResultSchema = z.object({
  schema_version: z.string(),
  job_id: z.uuid(),
  job_type: z.string(),
  status: z.enum(CONTRACT_STATUSES),
  env_version: z.string().nullable(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  duration_ms: z.number().nullable(),
  resource_usage: z.object({
    cpu_ms: z.number().nullable(),
    memory_mb_peak: z.number().nullable(),
    /** How the sandbox was started; null where there was none. */
    isolation: z.enum(ISOLATIONS).nullable(),
  }),
  outputs: z.object({
    result_json: z.unknown(),
    stdout: z.string().nullable(),
    stderr: z.string().nullable(),
  }),
  artifacts: z.array(artifactSchema),
  logs: z.array(z.object({ level: z.string(), message: z.string(), timestamp: z.string() })),
  project_id: z.string().nullable(),
  document_id: z.string().nullable(),
  document_revision_id: z.string().nullable(),
  target: z.object({ object_id: z.string().nullable() }),
  error: z.exactOptional(failureSchema),
})
/** The result envelope of one job: what `ergon run --json` prints and the API answers. `error` is there only on failure. */
export type JobResult = z.infer<typeof jobResultSchema>
