import type { Artifact, JobResult, JobView } from '@ergon/contract'
import type { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { TenantDatabase } from '../platform/db/tenant-database.ts'
import { JsonText } from '../platform/text/json-text.ts'
import { ARTIFACT_COLUMNS, artifactRowSchema, toArtifact } from './artifact-view.ts'
import { toResult, toView, VIEW_COLUMNS, viewRowSchema } from './job-view.ts'

/** The result envelope of a job at this moment, or null when there is no such job. */
export async function readJob(db: Database, id: string): Promise<JobResult | null> {
  const row = await readRow(db, id)
  if (row === undefined) return null
  const result = toResult(row)
  const { result_json: json } = result.outputs
  // Parsed, with numbers as they were written: who asks here looks at it.
  return json instanceof JsonText ? { ...result, outputs: { ...result.outputs, result_json: json.toJSON() } } : result
}

/** A job at this moment with all that it left, its result as a JsonText; or null when there is no such job. */
export async function readJobView(db: Database, id: string): Promise<JobView | null> {
  const row = await readRow(db, id)
  return row === undefined ? null : toView(row)
}

/** The same for a tenant, by one statement. */
export async function readOwnJobView(db: TenantDatabase, id: string): Promise<JobView | null> {
  const { rows } = await db.queryEntering(
    `select ${VIEW_COLUMNS}
     from (select jobs.enter_tenant($1) as is_in offset 0) tenant
     cross join lateral (select * from jobs.tb_job_run where id = $2 and tenant.is_in offset 0) j`,
    [id],
  )
  return rows[0] === undefined ? null : toView(viewRowSchema.parse(rows[0]))
}

async function readRow(db: Database, id: string): Promise<z.infer<typeof viewRowSchema> | undefined> {
  const rows = await queryRows(db, viewRowSchema, `select ${VIEW_COLUMNS} from jobs.tb_job_run j where j.id = $1`, [id])
  return rows[0]
}

/** The artifacts of a job, or with null the newest of all jobs and uploads, at most `limit`. */
export async function listArtifacts(db: Database, jobId: string | null, limit = 1_000): Promise<Artifact[]> {
  const rows = await queryRows(
    db,
    artifactRowSchema,
    `select ${ARTIFACT_COLUMNS} from jobs.tb_artifact where $1::uuid is null or job_id = $1
     order by created_at desc, name limit $2`,
    [jobId, limit],
  )
  return rows.map(toArtifact)
}

/** One artifact by its id, else null. */
export async function findArtifact(db: Database, artifactId: string): Promise<Artifact | null> {
  const rows = await queryRows(
    db,
    artifactRowSchema,
    `select ${ARTIFACT_COLUMNS} from jobs.tb_artifact where artifact_id = $1`,
    [artifactId],
  )
  return rows[0] === undefined ? null : toArtifact(rows[0])
}

export async function jobExists(db: Database, id: string): Promise<boolean> {
  const { rows } = await db.query('select from jobs.tb_job_run where id = $1', [id])
  return rows.length > 0
}
