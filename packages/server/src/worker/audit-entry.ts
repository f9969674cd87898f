import { hash } from 'node:crypto'
import type { Failure } from '@ergon/contract'
import { redactJson } from '../platform/text/redact-json.ts'
import type { Attempt } from './attempt.ts'
import type { RecordedResult } from './outcome-recorder.ts'

/** Which worker writes an entry. */
export interface AuditAuthor {
  id: string
  /** The machine's name. */
  name: string
  version: string
}

/** `allowed` before an attempt with exceptions runs; the others when it has ended, `stopped` after somebody cancelled it. */
export type AuditEvent = 'allowed' | 'ended' | 'released' | 'stopped'

export interface AuditEnding {
  /** Null for a success. */
  failure: Failure | null
  result: RecordedResult | null
}

/** The database takes 64 KiB; an entry must never be what keeps an outcome from being recorded. */
const MAX_BYTES = 60_000
const MAX_LISTED = 50
const MAX_TEXT = 1_024

/**
 * One entry of the audit trail in canonical JSON: who, what was allowed, what happened. Of input and output it has the
 * digests, of the program's own words nothing, and no secret that the attempt held.
 */
export function composeAuditEntry(
  event: AuditEvent,
  attempt: Attempt,
  author: AuditAuthor,
  ending: AuditEnding | null,
): string {
  const { job, redactor } = attempt
  const entry = {
    format: 'ergon-audit/1',
    event,
    job: {
      id: job.id,
      attempt: job.attempt,
      lane: job.lane,
      input_sha256: sha256(job.inputJson),
      security_context_sha256: sha256(job.securityContextJson),
    },
    who: { tenant_id: job.tenantId, triggered_by: job.triggeredBy, correlation_id: job.correlationId },
    allowed: describeAllowed(attempt, ending),
    happened: ending === null ? null : describeEnding(event, attempt, ending),
    worker: author,
  }
  const text = redactJson(boundedJson(entry), redactor)
  if (Buffer.byteLength(text) <= MAX_BYTES) return text
  const { policy_digest, service, operation } = entry.allowed
  const short = { ...entry, allowed: { policy_digest, service, operation }, is_shortened: true }
  return redactJson(boundedJson(short), redactor)
}

function describeAllowed({ job, resolved }: Attempt, ending: AuditEnding | null) {
  const { allowed, rules } = resolved ?? {}
  return {
    service: resolved?.name ?? job.serviceName,
    operation: resolved?.operation ?? job.operation,
    execution_type: resolved?.executionType ?? job.executionType,
    policy_digest: allowed?.policyDigest,
    exceptions: allowed === undefined || allowed.exceptions.length === 0 ? null : allowed.exceptions,
    timeout_seconds: Math.min(job.timeoutSeconds, rules?.timeoutSeconds ?? Infinity),
    max_attempts: Math.min(job.maxAttempts, rules?.maxAttempts ?? Infinity),
    terms: rememberJson(allowed?.terms),
    runner: ending?.result?.audit,
  }
}

function describeEnding(event: AuditEvent, { claimedAt }: Attempt, { failure, result }: AuditEnding) {
  const outcome = failure === null ? 'succeeded' : 'failed'
  const artifacts = result?.artifacts ?? []
  return {
    outcome: event === 'ended' ? outcome : event,
    category: failure?.category,
    code: failure?.code,
    evidence: failure?.evidence,
    env_version: result?.envVersion,
    held_ms: Math.round(performance.now() - claimedAt),
    resource_usage: result?.resourceUsage,
    output_sha256: sha256(result?.outputJson ?? null),
    artifact_count: artifacts.length === 0 ? null : artifacts.length,
    artifacts: artifacts.length === 0 ? null : artifacts.map(({ digest }) => digest),
  }
}

/**
 * Canonical JSON (keys in order) without what is absent, with long lists and texts cut: the policy's digest stands for
 * what is left out.
 */
function boundedJson(value: unknown): string {
  if (typeof value === 'string')
    return JSON.stringify(value.length <= MAX_TEXT ? value : `${value.slice(0, MAX_TEXT)}…`)
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  if (Array.isArray(value)) {
    const listed = value.slice(0, MAX_LISTED).map(boundedJson)
    if (value.length > MAX_LISTED) listed.push(JSON.stringify(`… ${value.length - MAX_LISTED} more`))
    return `[${listed.join(',')}]`
  }
  return remembered.get(value) ?? objectJson(value)
}

/** What a service's jobs are allowed is the same object for all of them, so it is written once. */
const remembered = new WeakMap<object, string>()

function rememberJson(value: object | undefined): object | undefined {
  if (value !== undefined && !remembered.has(value)) remembered.set(value, objectJson(value))
  return value
}

function objectJson(value: object): string {
  let text = ''
  const parts = value as Readonly<Record<string, unknown>>
  for (const key of Object.keys(value).toSorted()) {
    const part = parts[key]
    if (part !== null && part !== undefined)
      text += `${text === '' ? '' : ','}${JSON.stringify(key)}:${boundedJson(part)}`
  }
  return `{${text}}`
}

function sha256(text: string | null): string | null {
  return text === null ? null : hash('sha256', text, 'hex')
}
