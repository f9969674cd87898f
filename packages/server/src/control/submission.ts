import { randomUUID } from 'node:crypto'
import { type JobPayload, SCHEMA_MAJOR, type ServiceCall } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { JobRow } from '../queue/insert-jobs.ts'
import { requireInput } from './call-service.ts'
import { type FoundOperation, requireRunner } from './registry-file.ts'

/** Who submits, for the audit trail. */
export interface Submitter {
  tokenId: string
  tokenName: string
  requestId: string
}

export interface Submission {
  /** As it was checked. */
  request: JobPayload | ServiceCall
  /** Where it is in what came in. */
  path: readonly string[]
  /** Null where the submitter is bound to none and names none. */
  tenantId: string | null
  /** Whether the submitter sees that tenant alone. */
  isBound: boolean
  submitter: Submitter
}

/** A service's operation by name; throws SERVICE_NOT_FOUND or OPERATION_NOT_FOUND. */
export type FindOperation = (service: string, operation: string) => FoundOperation

/** The row of a submitted job; throws PAYLOAD_INVALID, INPUT_INVALID or what `find` throws. */
export function composeJobRow(submission: Submission, find: FindOperation): JobRow {
  const { request } = submission
  return 'service' in request ? rowOfCall(request, submission, find) : rowOfPayload(request, submission)
}

function rowOfPayload(payload: JobPayload, { path, tenantId, submitter }: Submission): JobRow {
  const [major] = payload.schema_version.split('.')
  if (Number(major) !== SCHEMA_MAJOR)
    throw new ErgonError(
      'PAYLOAD_INVALID',
      `schema_version is "${payload.schema_version}", this version of Ergon takes ${SCHEMA_MAJOR}.x`,
    )
  const id = payload.job_id.toLowerCase()
  return {
    ...NOTHING_STATED,
    id,
    identifier: `executor_${id}`,
    service_name: 'executor',
    operation: payload.job_type,
    execution_type: 'sandbox',
    input_path: path,
    max_attempts: 3,
    tenant_id: tenantId,
    audit_entry: auditEntry(submitter, 'executor', payload.job_type),
  }
}

function rowOfCall(call: ServiceCall, submission: Submission, find: FindOperation): JobRow {
  const { path, tenantId, submitter } = submission
  const found = find(call.service, call.operation)
  const { service, operation } = found
  requireRunner(service)
  // The worker checks it once more, with its numbers as they were written.
  requireInput(found, JSON.stringify(call.input))
  const id = call.job_id?.toLowerCase() ?? randomUUID()
  return {
    ...NOTHING_STATED,
    id,
    identifier:
      call.identifier === undefined
        ? `${service.name}_${operation.name}_${id}`
        : identifierOf(call.identifier, submission),
    service_name: service.name,
    operation: operation.name,
    execution_type: service.execution_type,
    input_path: [...path, 'input'],
    max_attempts: operation.max_retries + 1,
    timeout_seconds: Math.ceil(operation.timeout),
    tenant_id: tenantId,
    triggered_by: call.triggered_by ?? null,
    correlation_id: call.correlation_id ?? null,
    entity_type: call.entity_type ?? null,
    entity_pk: call.entity_pk ?? null,
    priority: call.priority ?? NOTHING_STATED.priority,
    run_at: call.run_at ?? null,
    queue: call.queue ?? null,
    on_worker_lost: operation.on_worker_lost ?? null,
    audit_entry: auditEntry(submitter, service.name, operation.name),
  }
}

/**
 * Identifiers are unique over all tenants, and applications make theirs of names that can be guessed: what a tenant's token
 * chooses is told apart from them, so that nobody's place can be taken.
 */
function identifierOf(chosen: string, { tenantId, isBound }: Submission): string {
  return isBound ? `${tenantId}:${chosen}` : chosen
}

/** What a row has where nobody says anything; a payload says more, and the row's triggers read it. */
const NOTHING_STATED = {
  timeout_seconds: null,
  triggered_by: null,
  correlation_id: null,
  entity_type: null,
  entity_pk: null,
  priority: 100,
  run_at: null,
  queue: null,
  on_worker_lost: null,
} as const

function auditEntry({ tokenId, tokenName, requestId }: Submitter, service: string, operation: string): string {
  return JSON.stringify({
    format: 'ergon-audit/1',
    event: 'submitted',
    allowed: { service, operation },
    by: { token_id: tokenId, token_name: tokenName, request_id: requestId },
  })
}
