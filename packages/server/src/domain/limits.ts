import { DEFAULT_JOB_LIMITS, type Failure, type JobLimits } from '@ergon/contract'
import type { SandboxLimits } from './sandbox-evidence.ts'
import type { SandboxPolicy } from './sandbox-policy.ts'

/** Every limit of one job, decided. */
export type EffectiveLimits = Required<JobLimits>
type LimitName = keyof EffectiveLimits

const LIMIT_NAMES = Object.keys(DEFAULT_JOB_LIMITS) as LimitName[]
const MIB = 1024 * 1024

/**
 * The limits a job runs under: what it asked for, else the contract's default or the policy's ceiling where that is
 * lower. A job that asks for more than the ceiling is refused, not lowered, and told both numbers of each such limit.
 */
export function applyPolicy(
  asked: JobLimits,
  { limits: ceilings }: SandboxPolicy,
): { ok: true; limits: EffectiveLimits } | { ok: false; failure: Failure } {
  const above = LIMIT_NAMES.filter((name) => (asked[name] ?? 0) > ceilings[name])
  if (above.length > 0) {
    const each = above.map(
      (name) => `limits.${name} is ${asked[name]}, the service's policy allows at most ${ceilings[name]}`,
    )
    return {
      ok: false,
      failure: {
        category: 'VALIDATION_ERROR',
        code: 'LIMIT_ABOVE_POLICY',
        message: `${each.join('; ')}; lower ${above.length === 1 ? 'it' : 'them'}`,
        evidence: null,
        details: null,
      },
    }
  }
  const limits: EffectiveLimits = { ...DEFAULT_JOB_LIMITS }
  for (const name of LIMIT_NAMES) limits[name] = asked[name] ?? Math.min(DEFAULT_JOB_LIMITS[name], ceilings[name])
  return { ok: true, limits: { ...limits, ...fitFilesIntoMemory(asked, limits) } }
}

/**
 * Files of a sandbox are memory too: with more room for them than half of it, a full workspace would end as an
 * out-of-memory kill instead of "disk full". Only where the job said nothing: what it asks for, it gets.
 */
function fitFilesIntoMemory(asked: JobLimits, limits: EffectiveLimits): Partial<EffectiveLimits> {
  const half = Math.max(1, Math.floor(limits.memory_mb / 2))
  return {
    disk_mb: asked.disk_mb ?? Math.min(limits.disk_mb, half),
    max_artifact_mb: asked.max_artifact_mb ?? Math.min(limits.max_artifact_mb, half),
    max_file_mb: asked.max_file_mb ?? Math.min(limits.max_file_mb, limits.memory_mb),
  }
}

/** The sandbox's hard limits for a job's limits; `cpuPercent` is the share of a core the slot may use, 100 = one core. */
export function toSandboxLimits(limits: EffectiveLimits, cpuPercent: number): SandboxLimits {
  return {
    wall_ms: limits.timeout_ms,
    cpu_ms: limits.cpu_ms,
    memory_bytes: limits.memory_mb * MIB,
    pids: limits.max_pids,
    cpu_percent: cpuPercent,
    file_size_bytes: limits.max_file_mb * MIB,
    disk_bytes: limits.disk_mb * MIB,
    disk_files: limits.max_files,
    open_files: limits.max_open_files,
    stdout_bytes: limits.max_output_kb * 1024,
    stderr_bytes: limits.max_output_kb * 1024,
    input_bytes: 256 * MIB,
    result_bytes: limits.max_result_kb * 1024,
    artifact_count: limits.max_artifacts,
    artifact_bytes: limits.max_artifact_mb * MIB,
  }
}
