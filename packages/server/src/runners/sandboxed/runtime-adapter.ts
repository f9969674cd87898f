import type { Isolation, JobPayload } from '@ergon/contract'
import type { EffectiveLimits } from '../../domain/limits.ts'
import type { CollectionViolation } from '../../domain/sandbox-evidence.ts'
import type { SandboxPolicy } from '../../domain/sandbox-policy.ts'
import type { SandboxFile, SandboxObserver, SandboxReport, SandboxRequest } from '../../sandbox/sandbox.ts'
import type { ProducedArtifact } from '../runner.ts'

/** What a job brings, resolved and checked: nothing here has to be fetched any more. */
export interface AdapterInputs {
  jobId: string
  attempt: number
  payload: JobPayload
  /** The payload's under the policy; `timeout_ms` also under the row's time-out. */
  limits: EffectiveLimits
  policy: SandboxPolicy
  /** What the service allows at the most, in per cent of a core; null where it says nothing. */
  cpuPercent: number | null
  isolation: Isolation
  /** 64 hexadecimal digits that the job's random numbers are derived from; null for the operating system's. */
  seed: string | null
  parametersJson: string
  envVersion: string
  datasets: readonly SandboxFile[]
  spoolFolder: string
}

/** One prepared attempt: the request for the sandbox and the observer that gathers what comes out. */
export interface PreparedRun {
  request: SandboxRequest
  outputs: SandboxObserver & OutputCollector
}

export interface OutputCollector {
  collect(): Promise<CollectedOutputs>
  /** Closes what a broken run left open. */
  abandon(): Promise<void>
}

export interface CollectedOutputs {
  resultJson: string | null
  resultProblem: { code: string; message: string } | null
  artifacts: ProducedArtifact[]
  violations: CollectionViolation[]
}

/** Knows one language; runs nothing outside the sandbox. */
export interface RuntimeAdapter {
  readonly language: string
  prepare(inputs: AdapterInputs, onOutput: SandboxObserver['onOutput']): PreparedRun
  execute(run: PreparedRun, signal: AbortSignal): Promise<SandboxReport>
  collectOutputs(run: PreparedRun): Promise<CollectedOutputs>
  cleanup(run: PreparedRun): Promise<void>
}
