import { z } from 'zod'

/**
 * Limits a job may ask for, all optional; a service's policy is the ceiling of each, so a job can only lower one.
 * A MB is 1024 × 1024 bytes here, a kb 1024.
 */
export const limitsSchema = z.object({
  timeout_ms: z.exactOptional(z.number().int().min(100).max(86_400_000)),
  /** CPU time of the whole process tree. */
  cpu_ms: z.exactOptional(z.number().int().min(100).max(86_400_000)),
  /** Without swap; files in the workspace count too. */
  memory_mb: z.exactOptional(z.number().int().min(32).max(65_536)),
  /** Each stream. */
  max_output_kb: z.exactOptional(z.number().int().min(1).max(16_384)),
  max_artifacts: z.exactOptional(z.number().int().min(0).max(1_000)),
  /** All artifacts together. */
  max_artifact_mb: z.exactOptional(z.number().int().min(0).max(65_536)),
  max_result_kb: z.exactOptional(z.number().int().min(1).max(65_536)),
  /** Processes and threads. */
  max_pids: z.exactOptional(z.number().int().min(1).max(4_096)),
  /** Descriptors of one process. */
  max_open_files: z.exactOptional(z.number().int().min(16).max(65_536)),
  max_file_mb: z.exactOptional(z.number().int().min(1).max(65_536)),
  /** Of /workspace, /tmp and /dev/shm each, as is `max_files`. */
  disk_mb: z.exactOptional(z.number().int().min(1).max(65_536)),
  /** Files and folders. */
  max_files: z.exactOptional(z.number().int().min(16).max(1_000_000)),
})
export type JobLimits = z.infer<typeof limitsSchema>

/** What a job that says nothing gets, where its service's policy allows as much. */
export const DEFAULT_JOB_LIMITS = {
  timeout_ms: 30_000,
  cpu_ms: 30_000,
  memory_mb: 512,
  max_output_kb: 256,
  max_artifacts: 50,
  max_artifact_mb: 128,
  max_result_kb: 1_024,
  max_pids: 64,
  max_open_files: 256,
  max_file_mb: 256,
  disk_mb: 256,
  max_files: 4_096,
} as const satisfies Required<JobLimits>
