import {
  type Artifact,
  failureSchema,
  ISOLATIONS,
  JOB_STATUSES,
  type JobResult,
  type JobSummary,
  type JobView,
  SCHEMA_VERSION,
  toContractStatus,
} from '@ergon/contract'
import { z } from 'zod'
import { artifactRowSchema, toArtifact } from './artifact-view.ts'
import { OUTPUT_COLUMNS, outputRowFields, toResultOutputs } from './result-outputs.ts'

/** Columns that lists show, under the names of the API. Times are text, since a Date has no microseconds. */
export const SUMMARY_COLUMNS = `j.id as job_id, j.identifier, j.service_name as service, j.operation, j.execution_type, j.status as state,
  j.tenant_id, j.correlation_id, j.entity_type, j.entity_pk, coalesce(j.attempts, 0) as attempts,
  coalesce(j.max_attempts, 3) as max_attempts, j.priority, j.created_at, j.run_at, j.dead_letter_reason, j.env_version,
  j.started_at, j.completed_at, j.failure_category, j.failure_code`

/** PostgreSQL has times that a Date has not: `infinity` is told as the last one that four digits can say. */
export const momentSchema = z.preprocess(
  (value) => (value === Infinity ? new Date('9999-12-31T23:59:59.999Z') : value === -Infinity ? new Date(0) : value),
  z.date(),
)

const summaryColumns = {
  job_id: z.string(),
  identifier: z.string(),
  service: z.string(),
  operation: z.string(),
  execution_type: z.string(),
  state: z.enum(JOB_STATUSES),
  tenant_id: z.string().nullable(),
  correlation_id: z.string().nullable(),
  entity_type: z.string().nullable(),
  entity_pk: z.string().nullable(),
  attempts: z.number(),
  max_attempts: z.number(),
  priority: z.number(),
  created_at: momentSchema.nullable(),
  run_at: momentSchema,
  dead_letter_reason: z.string().nullable(),
  env_version: z.string().nullable(),
  started_at: momentSchema.nullable(),
  completed_at: momentSchema.nullable(),
  failure_code: z.string().nullable(),
}

export const summaryRowSchema = z.object({ ...summaryColumns, failure_category: z.string().nullable() })

/** The columns of a whole job, with its artifacts as one JSON array: one statement shows one moment. */
export const VIEW_COLUMNS = `${SUMMARY_COLUMNS}, j.failure, j.resource_usage, ${OUTPUT_COLUMNS}, j.logs, j.project_id,
  j.document_id, j.document_revision_id, j.target_object_id,
  (select json_agg(a order by a.created_at desc, a.name) from (
     select artifact_id, kind, format, name, digest, size_bytes, content_type, metadata, created_at
     from jobs.tb_artifact where job_id = j.id order by created_at desc, name limit 1000) a) as artifacts`

export const viewRowSchema = z.object({
  ...summaryColumns,
  failure: failureSchema.nullable(),
  resource_usage: z
    .object({
      cpu_ms: z.number().optional(),
      peak_memory_mb: z.number().optional(),
      duration_seconds: z.number().optional(),
      isolation: z.enum(ISOLATIONS).optional(),
    })
    .nullable(),
  ...outputRowFields,
  logs: z.array(z.object({ level: z.string(), message: z.string(), timestamp: z.string() })).nullable(),
  project_id: z.string().nullable(),
  document_id: z.string().nullable(),
  document_revision_id: z.string().nullable(),
  target_object_id: z.string().nullable(),
  artifacts: z.array(artifactRowSchema).nullable(),
})

export function toSummary(row: z.infer<typeof summaryRowSchema>): JobSummary {
  return {
    ...listedFields(row),
    status: toContractStatus(row.state, row.failure_code),
    env_version: row.env_version,
    started_at: textOf(row.started_at),
    finished_at: textOf(row.completed_at),
    failure_category: row.failure_category,
    failure_code: row.failure_code,
  }
}

/** The result envelope of a job at this moment. Numbers of its outputs stay as they were written. */
export function toResult(row: z.infer<typeof viewRowSchema>): JobResult {
  const usage = row.resource_usage
  const artifacts: Artifact[] = (row.artifacts ?? []).map(toArtifact)
  return {
    schema_version: SCHEMA_VERSION,
    job_id: row.job_id,
    job_type: row.operation,
    status: toContractStatus(row.state, row.failure?.code ?? null),
    env_version: row.env_version,
    started_at: textOf(row.started_at),
    finished_at: textOf(row.completed_at),
    duration_ms:
      usage?.duration_seconds === undefined
        ? durationOf(row.started_at, row.completed_at)
        : Math.round(usage.duration_seconds * 1000),
    resource_usage: {
      cpu_ms: usage?.cpu_ms ?? null,
      memory_mb_peak: usage?.peak_memory_mb ?? null,
      isolation: usage?.isolation ?? null,
    },
    outputs: toResultOutputs(row),
    artifacts,
    logs: row.logs ?? [],
    project_id: row.project_id,
    document_id: row.document_id,
    document_revision_id: row.document_revision_id,
    target: { object_id: row.target_object_id },
    ...(row.failure === null ? {} : { error: row.failure }),
  }
}

export function toView(row: z.infer<typeof viewRowSchema>): JobView {
  return { ...toResult(row), ...listedFields(row) }
}

/** What lists and single jobs both say. */
function listedFields(row: Omit<z.infer<typeof summaryRowSchema>, 'failure_category'>) {
  return {
    job_id: row.job_id,
    identifier: row.identifier,
    service: row.service,
    operation: row.operation,
    execution_type: row.execution_type,
    state: row.state,
    tenant_id: row.tenant_id,
    correlation_id: row.correlation_id,
    entity_type: row.entity_type,
    entity_pk: row.entity_pk,
    attempts: row.attempts,
    max_attempts: row.max_attempts,
    priority: row.priority,
    created_at: textOf(row.created_at),
    run_at: row.run_at.toISOString(),
    dead_letter_reason: row.dead_letter_reason,
  }
}

function textOf(at: Date | null): string | null {
  return at?.toISOString() ?? null
}

function durationOf(startedAt: Date | null, finishedAt: Date | null): number | null {
  return startedAt === null || finishedAt === null ? null : finishedAt.getTime() - startedAt.getTime()
}
