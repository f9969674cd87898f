import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { TenantDatabase } from '../platform/db/tenant-database.ts'

/** A job as its row says it; the row's triggers read the rest from a payload of the job contract. */
export interface JobRow {
  id: string
  identifier: string
  service_name: string
  operation: string
  execution_type: string
  /** Where its input is in the JSON that came with it. */
  input_path: readonly string[]
  max_attempts: number
  timeout_seconds: number | null
  tenant_id: string | null
  triggered_by: string | null
  correlation_id: string | null
  entity_type: string | null
  entity_pk: string | null
  priority: number
  run_at: string | null
  queue: string | null
  on_worker_lost: 'retry' | 'fail' | null
  /** What the audit trail says of the submission. */
  audit_entry: string
}

const ROW_TYPE = `id uuid, identifier text, service_name text, operation text, execution_type text, input_path text[], max_attempts integer,
  timeout_seconds integer, tenant_id uuid, triggered_by uuid, correlation_id text, entity_type text, entity_pk text,
  priority smallint, run_at timestamptz, queue text, on_worker_lost text, audit_entry text`
const COLUMNS = `id, identifier, service_name, operation, execution_type, input_data, max_attempts, timeout_seconds, tenant_id,
  triggered_by, correlation_id, entity_type, entity_pk, priority, run_at, queue, on_worker_lost`

const idSchema = z.object({ id: z.string() })

/**
 * Inserts jobs as an application does, with the rights of whoever asks, in the order given, and gives the ids of those
 * that are new; a job whose id or identifier is taken is left out. `sourceJson` is what came in: inputs are taken out of it
 * by the database, so that no number passes through a double.
 */
export async function insertJobs(db: Database, rows: readonly JobRow[], sourceJson: string): Promise<Set<string>> {
  const made = await queryRows(db, idSchema, insertion('jsonb_to_recordset($2::jsonb)', 'j.id', '$1'), [
    sourceJson,
    JSON.stringify(rows),
  ])
  return new Set(made.map(({ id }) => id))
}

/** The same for a tenant, by one statement that gives `columns` of each new job `j`, a text of ours. */
export async function insertOwnJobs(
  db: TenantDatabase,
  rows: readonly JobRow[],
  sourceJson: string,
  columns: string,
): Promise<unknown[]> {
  // The rows hang on the answer, so that nothing is inserted before it is said whose it is.
  const given = `(select jobs.enter_tenant($1) as is_in offset 0) tenant
    cross join lateral jsonb_to_recordset(case when tenant.is_in then $3::jsonb end)`
  const inserted = await db.queryEntering(insertion(given, columns, '$2'), [sourceJson, JSON.stringify(rows)])
  return inserted.rows
}

function insertion(given: string, columns: string, source: string): string {
  return `with given as materialized (
      select g.*, row_number() over () as position from ${given} as g(${ROW_TYPE})
    ), made as (
      insert into jobs.tb_job_run (${COLUMNS})
      select ${COLUMNS.replace('run_at', 'coalesce(run_at, now())').replace('input_data', `${source}::jsonb #> input_path`)}
      from given order by position
      on conflict do nothing
      returning *
    ), noted as (
      insert into jobs.tb_audit (job_id, identifier, entry)
      select m.id, m.identifier, g.audit_entry from made m join given g on g.id = m.id
    )
    select ${columns} from made j`
}
