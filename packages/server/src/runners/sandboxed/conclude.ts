import type { Failure } from '@ergon/contract'
import type { Verdict } from '../../domain/decide-outcome.ts'
import type { SandboxLimits } from '../../domain/sandbox-evidence.ts'
import type { SandboxError, SandboxReport } from '../../sandbox/sandbox.ts'
import type { RunnerOutcome } from '../runner.ts'
import { validationFailure } from './read-payload.ts'

/** A job that broke the rules of leaving leaves nothing. */
export function isRuleBreach(verdict: Verdict): boolean {
  return verdict.kind === 'failed' && verdict.failure.category === 'SANDBOX_VIOLATION'
}

/** What was refused and decided nothing, for the job's logs. */
export function describeRefusals({ evidence }: SandboxReport, limits: SandboxLimits): RunnerOutcome['logs'] {
  const logs: RunnerOutcome['logs'] = []
  if (evidence.counters.pids_refused > 0)
    logs.push({
      level: 'warn',
      message: `${evidence.counters.pids_refused} new processes or threads were refused`,
    })
  if (evidence.counters.allocation_refused_bytes > 0)
    logs.push({
      level: 'warn',
      message: `an allocation of ${evidence.counters.allocation_refused_bytes} bytes was refused: the whole machine could not hold it`,
    })
  if (evidence.counters.network_attempts > 0)
    logs.push({
      level: 'warn',
      message: `${evidence.counters.network_attempts} attempts to reach the network were refused`,
    })
  for (const [name, times] of Object.entries(evidence.denied_syscalls))
    logs.push({ level: 'warn', message: `the system call ${name} was refused, ${times} in all` })
  for (const stream of ['stdout', 'stderr'] as const) {
    const counter = `${stream}_bytes` as const
    if (evidence.truncated[stream])
      logs.push({
        level: 'warn',
        message: `${stream} was cut at its limit. ${counter}: limit ${limits[counter]}, observed ${evidence.counters[counter]}`,
      })
  }
  return logs
}

/** Nothing ran: a failure and no more. */
export function refused(failure: Failure, envVersion: string | null = null): RunnerOutcome {
  return {
    verdict: { kind: 'failed', failure },
    composeOutput: () => null,
    artifacts: [],
    resourceUsage: null,
    envVersion,
    logs: [],
  }
}

/** sandboxd's refusals that are the job's own fault; every other one is ours and is tried again. */
const REQUEST_FAULTS: Record<string, Failure['category']> = {
  ENVIRONMENT_NOT_FOUND: 'VALIDATION_ERROR',
  LIMIT_OUT_OF_RANGE: 'VALIDATION_ERROR',
  UPLINK_NOT_ALLOWED: 'VALIDATION_ERROR',
  INPUT_TOO_LARGE: 'RESOURCE_LIMIT',
}

/** The outcome of an attempt of which sandboxd reported nothing. */
export function concludeWithoutEvidence(error: SandboxError, envVersion: string): RunnerOutcome {
  // Nothing of the job has run, so no attempt is spent.
  if (error.code === 'ABORTED' || error.code === 'UNREACHABLE')
    return {
      ...refused(validationFailure('ABORTED', error.message), envVersion),
      verdict: { kind: 'cancelled' },
    }
  const category = REQUEST_FAULTS[error.code]
  const code = category === undefined ? `SANDBOX_${error.code}` : error.code
  return refused(
    {
      category: category ?? 'INTERNAL_ERROR',
      code,
      message: error.message,
      evidence: null,
      details: null,
    },
    envVersion,
  )
}
