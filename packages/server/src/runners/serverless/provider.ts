import type { Failure } from '@ergon/contract'
import type { ServiceConfig } from '../../registry/create-services.ts'

/** One call of a function, within bounds that are checked already. */
export interface FunctionCall {
  /** Names the job in the call, so that a function can tell a repetition from a new job. */
  jobId: string
  payloadJson: string
  /** True when nobody waits for the function's answer. */
  isEvent: boolean
  maxResponseBytes: number
  signal: AbortSignal
  /** Hides a credential that was made for the call wherever the attempt is recorded. */
  registerSecret(value: string): void
}

/** What the provider itself measured. */
export interface BilledUsage {
  durationMs: number
  memoryMb: number
  peakMemoryMb: number | null
}

/** What came back of a call: its answer, or the failure of whoever failed. */
export interface FunctionAnswer {
  failure: Failure | null
  /** Null when the call never got an answer. */
  statusCode: number | null
  /** JSON text; null where there is none. */
  payloadJson: string | null
  executedVersion: string | null
  /** The last lines that the function logged, as it wrote them. */
  logTail: string | null
  /** Null where the provider does not say. */
  billed: BilledUsage | null
}

/** Calls one function with the credentials of its service. */
export interface FunctionClient {
  /** Answers failures of function, network and provider; throws for faults of ours and when the signal aborts. */
  invoke(call: FunctionCall): Promise<FunctionAnswer>
}

/** Bytes that a provider takes and gives; `event` is null where it has no calls that nobody waits for. */
export interface PayloadLimits {
  request: number
  event: number | null
  response: number
}

/** List prices in US dollars, which change; docs/registry.md has the formula. */
export interface Prices {
  perGbSecond: number
  perCall: number
}

/** Everything Ergon knows of one provider. A further one is a file that makes this, and its rules in registry/check-serverless.ts. */
export interface FunctionProvider {
  readonly limits: PayloadLimits
  readonly prices: Prices
  /** What a function has where nobody says. */
  readonly defaultMemoryMb: number
  /**
   * Checks the secrets that a service names, when the registry is read; throws CONFIG_INVALID. What it gives makes the
   * client, which keeps connections and credentials, once somebody needs it.
   */
  prepare(config: ServiceConfig<'serverless'>): () => Promise<FunctionClient>
}

/** What is known of a call that got no answer. */
export const noAnswer = {
  statusCode: null,
  payloadJson: null,
  executedVersion: null,
  logTail: null,
  billed: null,
} as const satisfies Partial<FunctionAnswer>
