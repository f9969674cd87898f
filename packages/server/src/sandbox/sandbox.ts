import type { Isolation } from '@ergon/contract'
import type {
  CollectionLimit,
  CollectionViolation,
  SandboxEvidence,
  SandboxLimits,
} from '../domain/sandbox-evidence.ts'

/** A read-only input: `path` is `code/<name>` or `input/<name>` below /workspace. */
export interface SandboxFile {
  path: string
  sizeBytes: number
  read(): AsyncIterable<Buffer> | Iterable<Buffer>
}

/** The OCI runtimes that sandboxd knows how to use. */
export type SandboxRuntime = 'crun' | 'runc' | 'runsc'

/** What a sandbox can reach: nothing, not even itself; its own loopback; or with that public addresses and `networks`. */
export type SandboxNetwork = { level: 'none' | 'loopback' } | { level: 'uplink'; networks: readonly string[] }

export interface SandboxRequest {
  /** Names the sandbox in cgroups: lower-case letters, digits and dashes, at most 64. */
  id: string
  /** `<name>@<digest>` of an installed environment. */
  environment: string
  runtime: SandboxRuntime
  /** `warm`: a child of the environment's template where one is ready, else a container of its own; `fresh`: always that. */
  isolation: Isolation
  entry: { kind: 'python'; file: string } | { kind: 'exec'; argv: string[]; cwd: string }
  env: Record<string, string>
  /** What random numbers are derived from, 64 hexadecimal digits; null: the operating system. */
  seed: string | null
  network: SandboxNetwork
  /** `read_only`: nothing is written below /workspace, and nothing collected from it. */
  workspace: 'read_only' | 'read_write'
  limits: SandboxLimits
  onOutputLimit: 'kill' | 'truncate'
  files: readonly SandboxFile[]
}

/** Receives the bytes of one collected file. */
export interface ByteSink {
  write(chunk: Buffer): Promise<void>
  finish(): Promise<void>
}

/** What the caller does with what comes out of a sandbox while it lives and after. */
export interface SandboxObserver {
  onStarted(): void
  onOutput(stream: 'stdout' | 'stderr', bytes: Buffer): void
  openResult(sizeBytes: number): Promise<ByteSink>
  openArtifact(name: string, sizeBytes: number): Promise<ByteSink>
}

export interface SandboxReport {
  /** How it was really started; null when it was killed before. */
  isolation: Isolation | null
  evidence: SandboxEvidence
  violations: CollectionViolation[]
  collectionLimits: CollectionLimit[]
}

export interface UplinkSupport {
  allowed: boolean
  networks: readonly string[]
}

/**
 * Runs one program in isolation and reports the evidence; nothing of it is left when the promise settles.
 * Aborting kills the program; the report still comes. Throws SandboxError when there is no evidence to report.
 */
export interface Sandbox {
  run(request: SandboxRequest, observer: SandboxObserver, signal: AbortSignal): Promise<SandboxReport>
  /** Has a template for such jobs ready; throws SandboxError when it cannot be. */
  warmUp(template: { environment: string; runtime: SandboxRuntime; cpuPercent: number }): Promise<void>
  /** Whether sandboxes may have an uplink, and to which private networks; throws SandboxError when nobody answers. */
  uplink(): Promise<UplinkSupport>
}

/** Why there is no report: sandboxd refused the request, or was lost on the way. `code` is sandboxd's, or LOST or UNREACHABLE. */
export class SandboxError extends Error {
  readonly code: string

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'SandboxError'
    this.code = code
  }
}
