import type { Failure } from '@ergon/contract'
import type { Verdict } from '../../domain/decide-outcome.ts'
import { wallTimeFailure } from '../../domain/upstream-verdict.ts'
import { makeVisible } from '../../platform/text/sanitise-output.ts'
import type { ExecutionContext, ResourceUsage, Runner, RunnerJob, RunnerOutcome } from '../runner.ts'
import { RunningAttempts } from '../running-attempts.ts'
import { ResponseTooLargeError } from './bounded-body.ts'
import { estimateCost } from './cost-estimate.ts'
import { readInvocation } from './invocation.ts'
import { type FunctionAnswer, noAnswer } from './provider.ts'
import { readServerlessConfig, type ServerlessConfig } from './serverless-config.ts'

const MAX_LOG_LINES = 100
const ACCEPTED = 202

/** Calls functions of AWS and Google. What a function does after its caller is gone is the provider's to end. */
export class ServerlessRunner implements Runner<ServerlessConfig> {
  readonly displayName = 'Serverless Function'
  readonly #running = new RunningAttempts()

  validateConfig(config: unknown): ServerlessConfig {
    return readServerlessConfig(config)
  }

  execute(job: RunnerJob, config: ServerlessConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    return this.#running.hold(job.id, context, (held) => this.#attempt(job, config, held))
  }

  cancel(jobId: string): boolean {
    return this.#running.cancel(jobId)
  }

  getResourceRequirements() {
    return { cpuCores: 0.1, memoryMb: 64, diskMb: 0 }
  }

  async #attempt(job: RunnerJob, config: ServerlessConfig, context: ExecutionContext): Promise<RunnerOutcome> {
    const invocation = readInvocation(job.inputJson, config.provider.limits)
    if ('category' in invocation) return concludeFailure(invocation)
    const { signal: cancelled } = context
    const timeoutMs = Math.min(job.timeoutSeconds * 1_000, config.timeoutMs)
    const timer = AbortSignal.timeout(Math.ceil(timeoutMs))
    const startedMs = performance.now()
    try {
      const answer = await untilAborted(AbortSignal.any([cancelled, timer]), async (signal) => {
        const client = await config.client()
        return client.invoke({
          ...invocation,
          jobId: job.id,
          maxResponseBytes: config.maxResponseBytes,
          signal,
          registerSecret: (value) => context.registerSecret(value),
        })
      })
      return conclude(answer, config, performance.now() - startedMs)
    } catch (error) {
      const durationMs = performance.now() - startedMs
      if (cancelled.aborted) return { ...concludeFailure(null), verdict: { kind: 'cancelled' } }
      if (timer.aborted) return concludeCall(noAnswer, wallTime(timeoutMs, durationMs), config, durationMs)
      if (error instanceof ResponseTooLargeError)
        return concludeCall(noAnswer, tooLarge(error.maxBytes), config, durationMs)
      throw error
    }
  }
}

/** The work's end, or an abort, whichever comes first: signing in cannot be broken off, and nobody shall wait for it. */
async function untilAborted<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  signal.throwIfAborted()
  const abort = Promise.withResolvers<never>()
  const onAbort = (): void => abort.reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const running = work(signal)
  running.catch(() => {})
  try {
    return await Promise.race([running, abort.promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

function conclude(answer: FunctionAnswer, config: ServerlessConfig, durationMs: number): RunnerOutcome {
  const { payloadJson } = answer
  // The text as it came counts: what SDKs hold in memory is bounded by the provider, what is stored by the service.
  const isTooLarge = payloadJson !== null && Buffer.byteLength(payloadJson) > config.maxResponseBytes
  if (isTooLarge && answer.failure === null)
    return concludeCall({ ...answer, payloadJson: null }, tooLarge(config.maxResponseBytes), config, durationMs)
  return concludeCall(isTooLarge ? { ...answer, payloadJson: null } : answer, answer.failure, config, durationMs)
}

function concludeCall(
  answer: FunctionAnswer | typeof noAnswer,
  failure: Failure | null,
  config: ServerlessConfig,
  durationMs: number,
): RunnerOutcome {
  return {
    verdict: verdictOf(failure),
    composeOutput: () => composeOutput(answer),
    artifacts: [],
    resourceUsage: usageOf(answer, failure, config, durationMs),
    envVersion: null,
    logs: logLines(answer.logTail),
  }
}

/** A call that was never made. */
function concludeFailure(failure: Failure | null): RunnerOutcome {
  return {
    verdict: verdictOf(failure),
    composeOutput: () => null,
    artifacts: [],
    resourceUsage: null,
    envVersion: null,
    logs: [],
  }
}

function verdictOf(failure: Failure | null): Verdict {
  return failure === null ? { kind: 'succeeded' } : { kind: 'failed', failure }
}

/** The payload goes in as the text that it is, so that no number is rounded. */
function composeOutput({
  statusCode,
  payloadJson,
  executedVersion,
}: Pick<FunctionAnswer, 'statusCode' | 'payloadJson' | 'executedVersion'>): string | null {
  if (statusCode === null) return null
  return `{"payload":${payloadJson ?? 'null'},"status_code":${statusCode},"executed_version":${JSON.stringify(executedVersion)}}`
}

function usageOf(
  { statusCode, billed }: Pick<FunctionAnswer, 'statusCode' | 'billed'>,
  failure: Failure | null,
  { provider, memoryMb }: ServerlessConfig,
  durationMs: number,
): ResourceUsage {
  const peakMb = billed?.peakMemoryMb ?? null
  // What was refused or never arrived costs nothing; what nobody waited for any more does.
  const isAnswered = statusCode !== null && statusCode >= 200 && statusCode < 300
  const hasRun = isAnswered || failure?.code === 'FUNCTION_ERROR' || failure?.category === 'RESOURCE_LIMIT'
  // Of an event only the acceptance is seen, not the run.
  const isAccepted = statusCode === ACCEPTED && billed === null
  const measured = billed ?? { durationMs: isAccepted ? 0 : durationMs, memoryMb }
  return {
    duration_seconds: Math.round(durationMs) / 1_000,
    ...(peakMb === null ? {} : { memory_mb: peakMb, peak_memory_mb: peakMb }),
    ...(billed === null ? {} : { billed_ms: billed.durationMs }),
    ...(hasRun ? { cost_estimate_usd: estimateCost(provider.prices, measured) } : {}),
  }
}

/** The function's own text: as hostile as what any program prints. */
function logLines(logTail: string | null): RunnerOutcome['logs'] {
  const lines = (logTail ?? '').split('\n').filter((line) => line.trim() !== '')
  return lines.slice(-MAX_LOG_LINES).map((line) => ({ level: 'info', message: makeVisible(line.trimEnd()) }))
}

/** A timer may be a millisecond ahead of the clock that measures. */
function wallTime(limitMs: number, durationMs: number): Failure {
  return wallTimeFailure(limitMs, Math.max(limitMs, Math.round(durationMs)))
}

function tooLarge(maxBytes: number): Failure {
  return {
    category: 'RESOURCE_LIMIT',
    code: 'RESPONSE_SIZE',
    message: `The function's answer is larger than allowed. response_bytes: limit ${maxBytes}.`,
    evidence: { counter: 'response_bytes', limit: maxBytes, observed: null },
    details: null,
  }
}
