import type { JobLimits } from '@ergon/contract'
import type { SandboxLimits } from './sandbox-evidence.ts'

/** What a service lets a job have at the most; a job can only lower it. */
export interface LimitPolicy {
  timeoutMs: number
  cpuMs: number
  memoryMb: number
  outputKb: number
  artifacts: number
}

/** The ceiling of the built-in `executor` service. */
export const EXECUTOR_LIMIT_POLICY: LimitPolicy = {
  timeoutMs: 3_600_000,
  cpuMs: 3_600_000,
  memoryMb: 8_192,
  outputKb: 4_096,
  artifacts: 200,
}

const MIB = 1024 * 1024

/** The first limit above the policy's ceiling, in words that name both numbers, or null when all fit. */
export function findLimitAbovePolicy(limits: JobLimits, policy: LimitPolicy): string | null {
  const pairs: [string, number, number][] = [
    ['timeout_ms', limits.timeout_ms, policy.timeoutMs],
    ['cpu_ms', limits.cpu_ms, policy.cpuMs],
    ['memory_mb', limits.memory_mb, policy.memoryMb],
    ['max_output_kb', limits.max_output_kb, policy.outputKb],
    ['max_artifacts', limits.max_artifacts, policy.artifacts],
  ]
  const above = pairs.find(([, asked, ceiling]) => asked > ceiling)
  return above === undefined
    ? null
    : `limits.${above[0]} is ${above[1]}, the service's policy allows at most ${above[2]}`
}

/** The sandbox's hard limits for a job's limits; `cpuPercent` is the share of a core the slot may use, 100 = one core. */
export function toSandboxLimits(limits: JobLimits, cpuPercent: number): SandboxLimits {
  const memoryBytes = limits.memory_mb * MIB
  return {
    wall_ms: limits.timeout_ms,
    cpu_ms: limits.cpu_ms,
    memory_bytes: memoryBytes,
    pids: 64,
    cpu_percent: cpuPercent,
    file_size_bytes: Math.min(256 * MIB, memoryBytes),
    // tmpfs pages count as memory too, so a larger workspace would end as an out-of-memory kill instead of "disk full".
    disk_bytes: Math.min(256 * MIB, Math.floor(memoryBytes / 2)),
    disk_files: 4_096,
    open_files: 256,
    stdout_bytes: limits.max_output_kb * 1024,
    stderr_bytes: limits.max_output_kb * 1024,
    input_bytes: 256 * MIB,
    result_bytes: MIB,
    artifact_count: limits.max_artifacts,
    artifact_bytes: Math.min(128 * MIB, Math.floor(memoryBytes / 2)),
  }
}
