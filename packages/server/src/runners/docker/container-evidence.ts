import type { SandboxEvidence, SandboxLimits } from '../../domain/sandbox-evidence.ts'
import type { ContainerLimits } from './docker-config.ts'
import type { Usage } from './usage-sampler.ts'

/** Why we ended a container that had not ended by itself. */
export type KillReason = 'wall' | 'cpu' | 'stdout' | 'stderr' | 'client'

/** What engine and worker saw of one container. */
export interface ContainerEnd {
  /** As the engine reports it: 128 + n for a signal n, or for a program that exits with that number. */
  exitCode: number | null
  isOomKilled: boolean
  killedBy: KillReason | null
  wallMs: number
  usage: Usage
  outputBytes: { stdout: number; stderr: number }
}

/**
 * The end of a container in the terms of the table that decides verdicts. What an engine does not count (refused
 * processes and system calls, network attempts, full folders) is zero here, so it never decides anything.
 */
export function toEvidence(end: ContainerEnd, limits: ContainerLimits): SandboxEvidence {
  const { exitCode, isOomKilled, killedBy, usage, outputBytes } = end
  const isCut = (stream: 'stdout' | 'stderr') => outputBytes[stream] > limits.outputBytes
  return {
    exit: exitCode === null ? { kind: 'unknown' } : { kind: 'exited', code: exitCode },
    killed_by: killedBy,
    counters: {
      wall_ms: Math.round(end.wallMs),
      cpu_ms: Math.round(usage.cpuMs),
      // The last sample may be older than the kill; the kernel's word for it is that the limit was reached.
      memory_peak_bytes: isOomKilled ? Math.max(usage.peakMemoryBytes, limits.memoryBytes) : usage.peakMemoryBytes,
      oom_kills: isOomKilled ? 1 : 0,
      pids_refused: 0,
      allocation_refused_bytes: 0,
      network_attempts: 0,
      disk_peak_bytes: 0,
      disk_peak_files: 0,
      stdout_bytes: outputBytes.stdout,
      stderr_bytes: outputBytes.stderr,
    },
    truncated: { stdout: isCut('stdout'), stderr: isCut('stderr') },
    denied_syscalls: {},
    report: null,
  }
}

/** The limits that the table names in its messages; those that an engine has no counter for cannot be met. */
export function toLimits(limits: ContainerLimits, wallMs: number): SandboxLimits {
  const none = Number.MAX_SAFE_INTEGER
  return {
    wall_ms: wallMs,
    cpu_ms: limits.cpuMs ?? none,
    memory_bytes: limits.memoryBytes,
    pids: limits.pids,
    cpu_percent: limits.cpuCores * 100,
    file_size_bytes: none,
    disk_bytes: none,
    disk_files: none,
    open_files: none,
    stdout_bytes: limits.outputBytes,
    stderr_bytes: limits.outputBytes,
    input_bytes: none,
    result_bytes: none,
    artifact_count: limits.artifactCount,
    artifact_bytes: limits.artifactBytes,
  }
}
