import { z } from 'zod'

/** Limits a job may ask for; a service's policy is the ceiling and a job can only lower it. */
export const limitsSchema = z.object({
  timeout_ms: z.number().int().min(100).max(86_400_000).default(30_000),
  cpu_ms: z.number().int().min(100).max(86_400_000).default(30_000),
  memory_mb: z.number().int().min(32).max(65_536).default(512),
  max_output_kb: z.number().int().min(1).max(16_384).default(256),
  max_artifacts: z.number().int().min(0).max(1_000).default(50),
})
export type JobLimits = z.infer<typeof limitsSchema>
