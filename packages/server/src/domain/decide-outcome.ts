import type { Failure } from '@ergon/contract'
import { describeProgramError } from './program-error.ts'
import type { CollectionLimit, CollectionViolation, SandboxEvidence, SandboxLimits } from './sandbox-evidence.ts'

/** Everything a verdict may rest on. Nothing here is text that the program printed. */
export interface VerdictInput {
  evidence: SandboxEvidence
  limits: SandboxLimits
  violations: readonly CollectionViolation[]
  collectionLimits: readonly CollectionLimit[]
  /** Why result.json cannot be stored, or null when it is absent or good. */
  resultProblem: { code: string; message: string } | null
}

export type Verdict = { kind: 'succeeded' } | { kind: 'failed'; failure: Failure } | { kind: 'cancelled' }

const SIGXCPU = 24
const SIGXFSZ = 25
const SIGSYS = 31

/** One row of the table: the failure it stands for when its evidence is there, else null. */
type Rule = (input: VerdictInput) => Verdict | null

/**
 * The closed, ordered table from evidence to verdict; the first rule that speaks decides.
 * Order: supervisor kill > kernel kill > collection > non-zero exit with a refusal counter > plain exit. Among refusals
 * limits come before policy, and breaking out before calling out.
 */
const RULES: readonly Rule[] = [
  // What the supervisor killed.
  ({ evidence }) => (evidence.killed_by === 'client' ? { kind: 'cancelled' } : null),
  ({ evidence, limits }) =>
    evidence.killed_by === 'wall' ? limit('WALL_TIME', 'wall_ms', limits.wall_ms, evidence.counters.wall_ms) : null,
  ({ evidence, limits }) =>
    evidence.killed_by === 'cpu' ? limit('CPU_TIME', 'cpu_ms', limits.cpu_ms, evidence.counters.cpu_ms) : null,
  ({ evidence, limits }) =>
    evidence.killed_by === 'stdout'
      ? limit('OUTPUT', 'stdout_bytes', limits.stdout_bytes, evidence.counters.stdout_bytes)
      : null,
  ({ evidence, limits }) =>
    evidence.killed_by === 'stderr'
      ? limit('OUTPUT', 'stderr_bytes', limits.stderr_bytes, evidence.counters.stderr_bytes)
      : null,
  // What the kernel killed: an out-of-memory kill of a child counts although the parent exited 0.
  ({ evidence, limits }) =>
    evidence.killed_by === 'memory' || evidence.counters.oom_kills > 0
      ? limit('MEMORY', 'memory_bytes', limits.memory_bytes, evidence.counters.memory_peak_bytes)
      : null,
  ({ evidence, limits }) =>
    // No kernel limit of ours sends it, so without the time used it is the program's own doing.
    diedOf(evidence, SIGXCPU) && evidence.counters.cpu_ms >= limits.cpu_ms
      ? limit('CPU_TIME', 'cpu_ms', limits.cpu_ms, evidence.counters.cpu_ms)
      : null,
  ({ evidence, limits }) =>
    diedOf(evidence, SIGXFSZ) ? limit('FILE_SIZE', 'file_size_bytes', limits.file_size_bytes, null) : null,
  ({ evidence }) =>
    diedOf(evidence, SIGSYS)
      ? failed('SANDBOX_VIOLATION', 'SYSCALL_KILLED', 'A forbidden system call ended the program.', {
          counter: 'signal',
          limit: null,
          observed: SIGSYS,
        })
      : null,
  // What must not leave the sandbox.
  ({ violations }) =>
    violations[0] === undefined
      ? null
      : failed(
          'SANDBOX_VIOLATION',
          `ARTIFACT_${violations[0].code}`,
          `${JSON.stringify(violations[0].path)} was refused: ${violations[0].detail ?? `${violations[0].code}. Only regular files with plain names, of the formats allowed and with matching content leave a sandbox`}.`,
          {
            counter: 'collection_violations',
            limit: 0,
            observed: violations.length,
          },
        ),
  ({ collectionLimits: [first] }) =>
    first === undefined
      ? null
      : limit(COLLECTION_CODES[first.counter] ?? 'COLLECTION', first.counter, first.limit, first.observed),
  // A non-zero exit that a refusal explains, limits before policy.
  ({ evidence, limits }) =>
    !succeeded(evidence) && evidence.counters.pids_refused > 0
      ? limit('PIDS', 'pids', limits.pids, evidence.counters.pids_refused)
      : null,
  ({ evidence, limits }) =>
    !succeeded(evidence) && evidence.counters.allocation_refused_bytes > 0
      ? limit('MEMORY', 'memory_bytes', limits.memory_bytes, evidence.counters.allocation_refused_bytes)
      : null,
  ({ evidence, limits }) =>
    !succeeded(evidence) && isFull(evidence.counters.disk_peak_bytes, limits.disk_bytes)
      ? limit('DISK', 'disk_bytes', limits.disk_bytes, evidence.counters.disk_peak_bytes)
      : null,
  ({ evidence, limits }) =>
    !succeeded(evidence) && evidence.counters.disk_peak_files >= limits.disk_files
      ? limit('FILES', 'disk_files', limits.disk_files, evidence.counters.disk_peak_files)
      : null,
  ({ evidence }) => {
    const total = Object.values(evidence.denied_syscalls).reduce((sum, times) => sum + times, 0)
    return failedByItself(evidence) && total > 0
      ? denied('SYSCALL_DENIED', 'denied_syscalls', total, evidence, describeDenials(evidence))
      : null
  },
  ({ evidence }) =>
    failedByItself(evidence) && evidence.counters.network_attempts > 0
      ? denied('NETWORK_DENIED', 'network_attempts', evidence.counters.network_attempts, evidence)
      : null,
  // Nothing but the program itself.
  ({ evidence }) =>
    evidence.exit.kind === 'unknown'
      ? failed('INTERNAL_ERROR', 'SANDBOX_LOST', 'The sandbox ended without a status of the program.', null)
      : null,
  ({ evidence }) => (succeeded(evidence) ? null : { kind: 'failed', failure: describeProgramError(evidence) }),
  ({ resultProblem }) =>
    resultProblem === null ? null : failed('USER_CODE_ERROR', resultProblem.code, resultProblem.message, null),
]

const COLLECTION_CODES: Record<string, string> = {
  artifact_count: 'ARTIFACT_COUNT',
  artifact_bytes: 'ARTIFACT_BYTES',
  result_bytes: 'RESULT_SIZE',
}

/** The verdict on one sandbox: pure, total, and never influenced by printed text. */
export function decideOutcome(input: VerdictInput): Verdict {
  for (const rule of RULES) {
    const verdict = rule(input)
    if (verdict !== null) return verdict
  }
  return { kind: 'succeeded' }
}

function succeeded({ exit }: SandboxEvidence): boolean {
  return exit.kind === 'exited' && exit.code === 0
}

/** An exit whose status is not known is not the program's own failure. */
function failedByItself(evidence: SandboxEvidence): boolean {
  return evidence.exit.kind !== 'unknown' && !succeeded(evidence)
}

/** A program run by a shell reports a child's signal as 128 + n; only the job's own wait status counts here. */
function diedOf({ exit }: SandboxEvidence, signal: number): boolean {
  return exit.kind === 'signaled' && exit.signal === signal
}

/** A tmpfs refuses the write that would cross the quota, so "full" means that less than a page is left. */
function isFull(usedBytes: number, quotaBytes: number): boolean {
  return usedBytes > quotaBytes - 4096
}

function failed(category: Failure['category'], code: string, message: string, evidence: Failure['evidence']): Verdict {
  return {
    kind: 'failed',
    failure: { category, code, message, evidence, details: null },
  }
}

const DENIAL_MESSAGES: Record<string, string> = {
  SYSCALL_DENIED: 'The job made system calls that a sandbox refuses, and failed.',
  NETWORK_DENIED: 'The job tried to reach what its sandbox has no way to, and failed.',
}

/** The program's own account stays with the verdict: the refusal may not be why it failed. */
function denied(code: string, counter: string, observed: number, evidence: SandboxEvidence, names = ''): Verdict {
  const { message: cause, details } = describeProgramError(evidence)
  const message = `${DENIAL_MESSAGES[code]} ${counter}: limit 0, observed ${observed}${names}. It ended with: ${cause}`
  return {
    kind: 'failed',
    failure: { category: 'SANDBOX_VIOLATION', code, message, evidence: { counter, limit: 0, observed }, details },
  }
}

function describeDenials({ denied_syscalls: times }: SandboxEvidence): string {
  return ` (${Object.entries(times)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ')})`
}

const LIMIT_MESSAGES: Record<string, string> = {
  WALL_TIME: 'The job ran longer than its wall-clock limit and was killed.',
  CPU_TIME: 'The job and its children used more CPU time than allowed and were killed.',
  OUTPUT: 'The job wrote more output than allowed and was killed.',
  MEMORY: 'The job needed more memory than allowed.',
  FILE_SIZE: 'The job wrote a file larger than allowed.',
  PIDS: 'The job tried to start more processes or threads than allowed.',
  DISK: 'The job filled its workspace.',
  FILES: 'The job made more files than allowed.',
  ARTIFACT_COUNT: 'The job left more artifacts than allowed.',
  ARTIFACT_BYTES: 'The artifacts are larger than allowed.',
  RESULT_SIZE: 'result.json is larger than allowed.',
}

function limit(code: string, counter: string, limitValue: number, observed: number | null): Verdict {
  const seen = observed === null ? '' : `, observed ${observed}`
  const message = `${LIMIT_MESSAGES[code] ?? 'A limit was exceeded.'} ${counter}: limit ${limitValue}${seen}.`
  return failed('RESOURCE_LIMIT', code, message, {
    counter,
    limit: limitValue,
    observed,
  })
}
