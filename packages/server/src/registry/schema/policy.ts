import { ARTIFACT_FORMATS, type ArtifactFormat, limitsSchema } from '@ergon/contract'
import { z } from 'zod'

/** What one job may use at the most. */
export const resourceLimitsSchema = z.strictObject({
  cpu_cores: z.number().min(0.05).max(1_024).exactOptional().describe('share of the machine: 1 is one core'),
  memory_mb: z.int().min(32).max(65_536).exactOptional().describe('memory of all processes together'),
  disk_mb: z.int().min(1).max(65_536).exactOptional().describe('what may be written to the workspace'),
  cpu_seconds: z.number().min(0.1).max(86_400).exactOptional().describe('CPU time of all processes together'),
  max_output_kb: limitsSchema.shape.max_output_kb.describe('standard output and error, each'),
})

/** A sandbox can hold a job to every limit of the job contract. */
export const sandboxLimitsSchema = resourceLimitsSchema.extend({
  max_result_kb: limitsSchema.shape.max_result_kb,
  max_artifact_mb: limitsSchema.shape.max_artifact_mb,
  max_pids: limitsSchema.shape.max_pids,
  max_open_files: limitsSchema.shape.max_open_files,
  max_file_mb: limitsSchema.shape.max_file_mb,
  max_files: limitsSchema.shape.max_files,
})

const formats = Object.keys(ARTIFACT_FORMATS) as ArtifactFormat[]

/** What the security_policy of every execution type may say. */
export const commonPolicy = {
  rate_limit_per_minute: z
    .int()
    .min(1)
    .max(1_000_000)
    .exactOptional()
    .describe('jobs of the service started per minute, over all workers'),
  max_concurrent: z.int().min(1).max(100_000).exactOptional().describe('jobs of the service at once, over all workers'),
} as const

/** For the types that leave files. */
export const artifactPolicy = {
  formats: z.array(z.enum(formats)).max(formats.length).exactOptional().describe('formats that files may have'),
  max_artifacts: z.int().min(0).max(1_000).exactOptional(),
} as const
