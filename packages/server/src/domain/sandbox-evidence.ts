import { z } from 'zod'

const count = z.number().nonnegative()

/** What sandboxd saw of one sandbox, in the units the names say; sandboxd/PROTOCOL.md describes each field. */
export const sandboxEvidenceSchema = z.object({
  exit: z.discriminatedUnion('kind', [
    z.object({ kind: z.literal('exited'), code: z.number().int() }),
    z.object({ kind: z.literal('signaled'), signal: z.number().int() }),
    z.object({ kind: z.literal('unknown') }),
  ]),
  killed_by: z.enum(['wall', 'cpu', 'memory', 'stdout', 'stderr', 'client']).nullable(),
  counters: z.object({
    wall_ms: count,
    cpu_ms: count,
    memory_peak_bytes: count,
    oom_kills: count,
    pids_refused: count,
    /** The largest single allocation that was refused because the whole machine could not hold it. */
    allocation_refused_bytes: count,
    network_attempts: count,
    disk_peak_bytes: count,
    disk_peak_files: count,
    stdout_bytes: count,
    stderr_bytes: count,
  }),
  truncated: z.object({ stdout: z.boolean(), stderr: z.boolean() }),
  /** How often each system call was refused that only an attempt to break out makes. */
  denied_syscalls: z.record(z.string(), count),
  report: z.unknown(),
})
export type SandboxEvidence = z.infer<typeof sandboxEvidenceSchema>

/** Something in the output folder that was refused: by sandboxd unread, by the worker for its format. */
export interface CollectionViolation {
  path: string
  code: string
  /** What was wrong with it, where more is known than the code says. */
  detail?: string
}

/** A limit of the collection (artifact_count, artifact_bytes, result_bytes) that stopped it. */
export interface CollectionLimit {
  counter: string
  limit: number
  observed: number
}

/** The hard limits of one sandbox, as sandboxd enforces them; every value is required. */
export interface SandboxLimits {
  wall_ms: number
  cpu_ms: number
  memory_bytes: number
  pids: number
  cpu_percent: number
  file_size_bytes: number
  disk_bytes: number
  disk_files: number
  open_files: number
  stdout_bytes: number
  stderr_bytes: number
  input_bytes: number
  result_bytes: number
  artifact_count: number
  artifact_bytes: number
}
