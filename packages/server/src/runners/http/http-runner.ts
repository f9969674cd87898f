import type { Failure } from '@ergon/contract'
import { Spool } from '../../artifacts/spool.ts'
import type { Verdict } from '../../domain/decide-outcome.ts'
import { decideByStatus, statusDetails, upstreamFailure, wallTimeFailure } from '../../domain/upstream-verdict.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { isServiceOf } from '../../registry/create-services.ts'
import type { ExecutionContext, ResourceUsage, Runner, RunnerJob, RunnerOutcome, StoredOutputs } from '../runner.ts'
import { RunningAttempts } from '../running-attempts.ts'
import { storableHeaders } from './answer-headers.ts'
import { Deadline } from './deadline.ts'
import { describe, Exchange, type ExchangeResult } from './exchange.ts'
import { HostResolver, type LookUp } from './host-resolver.ts'
import { HttpClient } from './http-client.ts'
import { type HttpConfig, readHttpConfig } from './http-config.ts'
import { readRequest } from './read-request.ts'

const MS = 1_000

type Answer = Extract<ExchangeResult, { kind: 'answer' }>

/** Runs one HTTP request per attempt, under the service's policy: its inputs and what answers them are hostile. */
export class HttpRunner implements Runner<HttpClient> {
  readonly displayName = 'HTTP API'
  readonly #resolver: HostResolver
  readonly #running = new RunningAttempts()

  constructor(options: { lookUp?: LookUp } = {}) {
    this.#resolver = new HostResolver(options.lookUp)
  }

  /** Throws CONFIG_INVALID; the client opens no connection before its first job. */
  validateConfig(config: unknown): HttpClient {
    if (!isServiceOf('http', config))
      throw new ErgonError('CONFIG_INVALID', 'an http job needs a service of a registry')
    return new HttpClient(readHttpConfig(config), this.#resolver)
  }

  async execute(job: RunnerJob, client: HttpClient, context: ExecutionContext): Promise<RunnerOutcome> {
    for (const secret of client.config.derivedSecrets) context.registerSecret(secret)
    const reading = readRequest(job.inputJson, client.config, job.id)
    if (!reading.ok) return outcomeOf(failedVerdict(reading.failure))
    const deadline = new Deadline(Math.round(job.timeoutSeconds * MS), client.config.totalTimeoutMs)
    const cancel = () => deadline.end('cancelled')
    context.signal.addEventListener('abort', cancel, { once: true })
    if (context.signal.aborted) cancel()
    const leave = this.#running.enter(job.id, cancel)
    try {
      const exchange = new Exchange(client, deadline, new Spool(context.spoolFolder))
      const result = await exchange.run(reading.request)
      return conclude(result, exchange, deadline, describe(reading.request), client.config)
    } finally {
      leave()
      context.signal.removeEventListener('abort', cancel)
      deadline.clear()
    }
  }

  cancel(jobId: string): boolean {
    return this.#running.cancel(jobId)
  }

  getResourceRequirements() {
    return { cpuCores: 0.1, memoryMb: 128, diskMb: 0 }
  }
}

function conclude(
  result: ExchangeResult,
  exchange: Exchange,
  deadline: Deadline,
  request: string,
  { hasCredentials }: HttpConfig,
): RunnerOutcome {
  const usage = usageOf(exchange, deadline)
  if (result.kind === 'ended') return outcomeOf(endedVerdict(deadline, request), exchange.logs, usage)
  if (result.kind === 'failure') return outcomeOf(failedVerdict(result.failure), exchange.logs, usage)
  const { body } = result
  if (body.remark !== null) exchange.logs.push({ level: 'warn', message: body.remark })
  const { headers, left } = storableHeaders(result.headers, hasCredentials)
  if (left.length > 0) exchange.logs.push({ level: 'info', message: leftOut(left) })
  return {
    ...outcomeOf(decide(result), exchange.logs, usage),
    artifacts: body.artifact === null ? [] : [body.artifact],
    composeOutput: (stored) => composeOutput({ ...result, headers }, stored),
  }
}

function leftOut(names: readonly string[]): string {
  const listed = names.slice(0, 5).map((name) => name.slice(0, 100))
  return `${listed.join(', ')} of the answer: left out of output_data, since the session is the service's own`
}

function decide({ request, statusCode, broken }: Answer): Verdict {
  if (broken === null) return decideByStatus(statusCode, describe(request))
  return failedVerdict({
    category: 'DEPENDENCY_ERROR',
    code: 'REDIRECT_INVALID',
    message: `${describe(request)} was answered with status ${statusCode}, ${broken}.`,
    evidence: { counter: 'status_code', limit: null, observed: statusCode },
    details: statusDetails(statusCode),
  })
}

function endedVerdict({ reason, wallMs, elapsedMs }: Deadline, request: string): Verdict {
  if (reason === 'wall') return failedVerdict(wallTimeFailure(wallMs, Math.ceil(elapsedMs)))
  if (reason === 'cancelled') return { kind: 'cancelled' }
  return failedVerdict(upstreamFailure('TIMEOUT', `${request} took longer than runner_config.timeout allows.`))
}

/** The contract's three keys, the body as text of JSON, so that its numbers stay as the server wrote them. */
function composeOutput({ statusCode, headers, body }: Answer, { artifacts }: StoredOutputs): string {
  const files = artifacts.length === 0 ? '' : `,"artifacts":${JSON.stringify(artifacts)}`
  return `{"status_code":${statusCode},"headers":${JSON.stringify(headers)},"body":${body.json}${files}}`
}

function usageOf({ requests, sentBytes, receivedBytes }: Exchange, deadline: Deadline): ResourceUsage {
  return {
    duration_seconds: Math.round(deadline.elapsedMs) / MS,
    requests,
    sent_bytes: sentBytes,
    received_bytes: receivedBytes,
  }
}

function failedVerdict(failure: Failure): Verdict {
  return { kind: 'failed', failure }
}

function outcomeOf(
  verdict: Verdict,
  logs: RunnerOutcome['logs'] = [],
  resourceUsage: ResourceUsage | null = null,
): RunnerOutcome {
  return { verdict, composeOutput: () => null, artifacts: [], resourceUsage, envVersion: null, logs }
}
