import type { Artifact, ArtifactKind, Isolation } from '@ergon/contract'
import type { SpooledFile } from '../artifacts/spool.ts'
import type { Verdict } from '../domain/decide-outcome.ts'

/** A claimed job as a runner sees it. `inputJson` is the row's input_data as text, never re-serialised. */
export interface RunnerJob {
  id: string
  serviceName: string
  operation: string
  inputJson: string | null
  /** The row's time-out, in seconds; the database takes the job away a grace after it. */
  timeoutSeconds: number
  attempt: number
  maxAttempts: number
}

export interface ExecutionContext {
  tenantId: string | null
  triggeredBy: string | null
  correlationId: string | null
  securityContextJson: string | null
  /** Aborts when the job is cancelled, lost, or the worker must stop. */
  signal: AbortSignal
  /** Where a runner's output goes while the job runs; already bounded, not yet sanitised. */
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void
  /** Hides a value from now on wherever the attempt is recorded: a secret that came from elsewhere than the registry, or a form of one. */
  registerSecret(value: string): void
  /** Which of these dataset digests the job's tenant may read. */
  resolveDatasets(digests: readonly string[]): Promise<ReadonlySet<string>>
  /** The attempt's own spool folder; removed after the outcome is recorded. */
  spoolFolder: string
}

/** A file a job leaves, checked and hashed, not yet stored. */
export interface ProducedArtifact {
  name: string
  kind: ArtifactKind
  format: string
  contentType: string
  width: number | null
  height: number | null
  file: SpooledFile
}

/** The table's resource_usage column, key by key: what was measured and nothing else. */
export interface ResourceUsage {
  duration_seconds: number
  /** Of the job alone: left out by runners whose jobs share the worker's process or run elsewhere. */
  cpu_ms?: number
  cpu_usage_percent?: number
  memory_mb?: number
  peak_memory_mb?: number
  disk_mb?: number
  /** Of jobs that talk to a network: how often they asked, and the bytes of bodies both ways. */
  requests?: number
  sent_bytes?: number
  received_bytes?: number
  isolation?: Isolation
  /** What a provider billed for a function's run, where it says so. */
  billed_ms?: number
  /** By list prices; never an invoice. */
  cost_estimate_usd?: number
}

/** What the worker made of a job's streams and files: sanitised text and stored artifacts. */
export interface StoredOutputs {
  stdout: string
  stderr: string
  artifacts: readonly Artifact[]
}

/** What one attempt came to. Runners return failures of the job; they throw only for faults of ours. */
export interface RunnerOutcome {
  verdict: Verdict
  /** output_data as JSON text, once the outputs that the worker bounds and stores are known. */
  composeOutput(stored: StoredOutputs): string | null
  artifacts: ProducedArtifact[]
  resourceUsage: ResourceUsage | null
  envVersion: string | null
  /** Audit records that decided nothing: refusals the program survived, truncations. */
  logs: { level: 'info' | 'warn'; message: string }[]
  /** What this attempt was allowed beyond what its service's policy tells, for the audit trail; no text of the job's own. */
  audit?: Readonly<Record<string, unknown>>
}

export interface ResourceRequirements {
  cpuCores: number
  memoryMb: number
  diskMb: number
}

/** What every execution type implements. */
export interface Runner<Config = unknown> {
  readonly displayName: string
  /** Checks a service's runner_config once, at load; throws CONFIG_INVALID naming the field. */
  validateConfig(config: unknown): Config
  /** Runs one attempt to its end; everything it started is gone when the promise settles. */
  execute(job: RunnerJob, config: Config, context: ExecutionContext): Promise<RunnerOutcome>
  /** Ends a running job; false when this runner does not hold it. */
  cancel(jobId: string): boolean
  getResourceRequirements(config: Config): ResourceRequirements
}
