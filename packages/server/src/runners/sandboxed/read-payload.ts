import { type Failure, JOB_TYPES, type JobPayload, jobPayloadSchema, SCHEMA_MAJOR } from '@ergon/contract'
import { MAX_JSON_DEPTH, measureDepth } from '../../domain/check-result-json.ts'
import { applyPolicy, type EffectiveLimits } from '../../domain/limits.ts'
import type { SandboxPolicy } from '../../domain/sandbox-policy.ts'
import { describeIssues } from '../../platform/text/describe-issues.ts'
import { parseLossless } from '../../platform/text/lossless-json.ts'

/** Job types this build can run; the contract's others are refused by name. */
const SUPPORTED_JOB_TYPES = new Set(['object_execute'])

export interface ReadPayload {
  payload: JobPayload
  /** The payload's limits under the service's policy. */
  limits: EffectiveLimits
  /** runtime.parameters as JSON text with every number as the submitter wrote it. */
  parametersJson: string
}

export type PayloadReading = { ok: true; read: ReadPayload } | { ok: false; failure: Failure }

/** Reads a stored job-contract payload tolerantly: unknown fields are ignored, what is required is required. */
export function readPayload(inputJson: string | null, operation: string, policy: SandboxPolicy): PayloadReading {
  if (inputJson === null) return invalid('PAYLOAD_INVALID', 'input_data is null; expected a job-contract payload')
  // The parsers below recurse: what PostgreSQL still stores would overflow their stack, and look like a fault of ours.
  const depth = measureDepth(inputJson)
  if (depth > MAX_JSON_DEPTH)
    return invalid('PAYLOAD_INVALID', `the payload is nested ${depth} levels deep; at most ${MAX_JSON_DEPTH} are read`)
  const raw: unknown = JSON.parse(inputJson)
  const version = typeof raw === 'object' && raw !== null && 'schema_version' in raw ? String(raw.schema_version) : ''
  const major = /^(\d+)\.\d+$/.exec(version)?.[1]
  if (major !== undefined && Number(major) !== SCHEMA_MAJOR) {
    return invalid(
      'UNSUPPORTED_SCHEMA_VERSION',
      `schema_version is "${version}"; this executor reads ${SCHEMA_MAJOR}.x. Send the payload in version ${SCHEMA_MAJOR}.0`,
    )
  }
  const parsed = jobPayloadSchema.safeParse(raw)
  if (!parsed.success) {
    const problems = describeIssues(parsed.error.issues, '.', 'payload')
    return invalid('PAYLOAD_INVALID', `the payload does not match the job contract: ${problems}`)
  }
  const payload = parsed.data
  if (!SUPPORTED_JOB_TYPES.has(payload.job_type)) {
    const known = (JOB_TYPES as readonly string[]).includes(payload.job_type) ? 'is not built yet' : 'is unknown'
    return invalid(
      'UNSUPPORTED_JOB_TYPE',
      `job_type "${payload.job_type}" ${known}; supported: ${[...SUPPORTED_JOB_TYPES].join(', ')}`,
    )
  }
  if (payload.job_type !== operation) {
    return invalid(
      'PAYLOAD_INVALID',
      `the row's operation is "${operation}" but the payload's job_type is "${payload.job_type}"; they must agree`,
    )
  }
  const applied = applyPolicy(payload.limits, policy)
  if (!applied.ok) return applied
  return {
    ok: true,
    read: { payload, limits: applied.limits, parametersJson: readParameters(inputJson) },
  }
}

function readParameters(inputJson: string): string {
  const lossless = parseLossless(inputJson) as {
    inputs: { object: { runtime: { parameters?: unknown } } }
  }
  return JSON.stringify(lossless.inputs.object.runtime.parameters ?? {})
}

/** The failure of a payload that can never run as it is. */
export function validationFailure(code: string, message: string): Failure {
  return {
    category: 'VALIDATION_ERROR',
    code,
    message,
    evidence: null,
    details: null,
  }
}

function invalid(code: string, message: string): PayloadReading {
  return { ok: false, failure: validationFailure(code, message) }
}
