import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { ClaimedJob } from './types.ts'

export interface ClaimRequest {
  workerId: string
  /** The lanes to claim from, each with its free slots. */
  lanes: readonly { lane: string; slots: number }[]
  /** The services this worker knows; jobs of others are left alone and cost nothing. */
  services: readonly string[]
}

const text = z.string().nullable()
const claimedRowSchema = z
  .object({
    id: z.string(),
    fence: z.string(),
    attempt: z.number(),
    max_attempts: z.number(),
    lane: z.string(),
    service_name: z.string(),
    operation: z.string(),
    execution_type: z.string(),
    input_data: text,
    runner_config: text,
    tenant_id: text,
    triggered_by: text,
    correlation_id: text,
    entity_type: text,
    entity_pk: text,
    timeout_seconds: z.number(),
    deadline: z.date(),
    security_context: text,
    traceparent: text,
    execution_key: text,
    // An application may write a time that no Date can hold; its job is claimed already and must run.
    created_at: z.date().nullable().catch(null),
    project_id: text,
    document_id: text,
    document_revision_id: text,
    target_object_id: text,
  })
  .transform(
    (row): ClaimedJob => ({
      id: row.id,
      fence: row.fence,
      attempt: row.attempt,
      maxAttempts: row.max_attempts,
      lane: row.lane,
      serviceName: row.service_name,
      operation: row.operation,
      executionType: row.execution_type,
      inputJson: row.input_data,
      runnerConfigJson: row.runner_config,
      tenantId: row.tenant_id,
      triggeredBy: row.triggered_by,
      correlationId: row.correlation_id,
      entityType: row.entity_type,
      entityPk: row.entity_pk,
      timeoutSeconds: row.timeout_seconds,
      deadline: row.deadline,
      securityContextJson: row.security_context,
      traceparent: row.traceparent,
      executionKey: row.execution_key,
      createdAt: row.created_at,
      projectId: row.project_id,
      documentId: row.document_id,
      documentRevisionId: row.document_revision_id,
      targetObjectId: row.target_object_id,
    }),
  )

/**
 * Takes the soonest ready jobs, at most each lane's free slots; all of one call share a fence. Throws WORKER_UNKNOWN,
 * WORKER_DRAINING or LANE_NOT_REGISTERED.
 */
export async function claimJobs(db: Database, { workerId, lanes, services }: ClaimRequest): Promise<ClaimedJob[]> {
  return queryRows(db, claimedRowSchema, 'select * from jobs.claim_jobs($1, $2, $3, $4)', [
    workerId,
    lanes.map(({ lane }) => lane),
    lanes.map(({ slots }) => slots),
    services.map((service) => service.toLowerCase()),
  ])
}
