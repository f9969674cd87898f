import type { Isolation } from '@ergon/contract'
import type { SandboxEvidence } from './sandbox-evidence.ts'

const MIB = 1024 * 1024

/** The table's resource_usage for a sandbox; memory_mb is the peak, the only memory figure that a finished leaf still has. */
export function toResourceUsage({ counters }: SandboxEvidence, isolation: Isolation | null) {
  const peakMemoryMb = round(counters.memory_peak_bytes / MIB)
  return {
    cpu_ms: Math.round(counters.cpu_ms),
    cpu_usage_percent: counters.wall_ms > 0 ? round((100 * counters.cpu_ms) / counters.wall_ms) : 0,
    memory_mb: peakMemoryMb,
    peak_memory_mb: peakMemoryMb,
    disk_mb: round(counters.disk_peak_bytes / MIB),
    duration_seconds: Math.round(counters.wall_ms) / 1000,
    ...(isolation === null ? {} : { isolation }),
  }
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
