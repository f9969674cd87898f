import {
  type Artifact,
  artifactUri,
  failureSchema,
  ISOLATIONS,
  type JobResult,
  SCHEMA_VERSION,
  toContractStatus,
} from '@ergon/contract'
import { z } from 'zod'
import type { Database } from '../platform/db/database.ts'
import { parseLossless } from '../platform/text/lossless-json.ts'
import { toResultOutputs } from './result-outputs.ts'

const rowSchema = z.object({
  id: z.string(),
  operation: z.string(),
  execution_type: z.string(),
  status: z.enum(['pending', 'running', 'completed', 'failed', 'cancelled']),
  failure: failureSchema.nullable(),
  error_message: z.string().nullable(),
  env_version: z.string().nullable(),
  started_at: z.date().nullable(),
  completed_at: z.date().nullable(),
  resource_usage: z
    .object({
      cpu_ms: z.number().optional(),
      peak_memory_mb: z.number().optional(),
      duration_seconds: z.number().optional(),
      isolation: z.enum(ISOLATIONS).optional(),
    })
    .nullable(),
  output_text: z.string().nullable(),
  logs: z.array(z.object({ level: z.string(), message: z.string(), timestamp: z.string() })).nullable(),
  project_id: z.string().nullable(),
  document_id: z.string().nullable(),
  document_revision_id: z.string().nullable(),
  target_object_id: z.string().nullable(),
})

/** The result envelope of a job at this moment, or null when there is no such job. Numbers of its outputs stay as written. */
export async function readJob(db: Database, id: string): Promise<JobResult | null> {
  const { rows } = await db.query(
    `select id, operation, execution_type, status, failure, error_message, env_version, started_at, completed_at, resource_usage,
            output_data::text as output_text, logs, project_id, document_id, document_revision_id, target_object_id
     from jobs.tb_job_run where id = $1`,
    [id],
  )
  if (rows[0] === undefined) return null
  const row = rowSchema.parse(rows[0])
  const usage = row.resource_usage
  return {
    schema_version: SCHEMA_VERSION,
    job_id: row.id,
    job_type: row.operation,
    status: toContractStatus(row.status, row.failure?.code ?? null),
    env_version: row.env_version,
    started_at: row.started_at?.toISOString() ?? null,
    finished_at: row.completed_at?.toISOString() ?? null,
    duration_ms:
      usage?.duration_seconds === undefined
        ? durationOf(row.started_at, row.completed_at)
        : Math.round(usage.duration_seconds * 1000),
    resource_usage: {
      cpu_ms: usage?.cpu_ms ?? null,
      memory_mb_peak: usage?.peak_memory_mb ?? null,
      isolation: usage?.isolation ?? null,
    },
    outputs: toResultOutputs(row.execution_type, row.output_text === null ? null : parseLossless(row.output_text)),
    artifacts: await listArtifacts(db, id),
    logs: row.logs ?? [],
    project_id: row.project_id,
    document_id: row.document_id,
    document_revision_id: row.document_revision_id,
    target: { object_id: row.target_object_id },
    ...(row.failure === null ? {} : { error: row.failure }),
  }
}

const artifactRowSchema = z.object({
  artifact_id: z.string(),
  kind: z.enum(['plot', 'export', 'preview', 'dataset']),
  format: z.string(),
  name: z.string(),
  digest: z.string(),
  size_bytes: z.coerce.number(),
  content_type: z.string(),
  metadata: z.object({ width: z.number().nullish(), height: z.number().nullish() }),
})

/** The artifacts of a job, or with null the newest of all jobs and uploads, at most `limit`. */
export async function listArtifacts(db: Database, jobId: string | null, limit = 1_000): Promise<Artifact[]> {
  const { rows } = await db.query(
    `select artifact_id, kind, format, name, digest, size_bytes, content_type, metadata
     from jobs.tb_artifact where $1::uuid is null or job_id = $1
     order by created_at desc, name limit $2`,
    [jobId, limit],
  )
  return rows.map((row) => toArtifact(artifactRowSchema.parse(row)))
}

/** One artifact by its id, else null. */
export async function findArtifact(db: Database, artifactId: string): Promise<Artifact | null> {
  const { rows } = await db.query(
    `select artifact_id, kind, format, name, digest, size_bytes, content_type, metadata
     from jobs.tb_artifact where artifact_id = $1`,
    [artifactId],
  )
  return rows[0] === undefined ? null : toArtifact(artifactRowSchema.parse(rows[0]))
}

function toArtifact(row: z.infer<typeof artifactRowSchema>): Artifact {
  const { metadata, name, ...rest } = row
  return {
    ...rest,
    uri: artifactUri(row.digest),
    metadata: { name, width: metadata.width ?? null, height: metadata.height ?? null },
  }
}

function durationOf(startedAt: Date | null, finishedAt: Date | null): number | null {
  return startedAt === null || finishedAt === null ? null : finishedAt.getTime() - startedAt.getTime()
}
