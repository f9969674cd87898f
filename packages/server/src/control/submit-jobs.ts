import type { JobSummary, JobView } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { TenantDatabase } from '../platform/db/tenant-database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { insertJobs, insertOwnJobs, type JobRow } from '../queue/insert-jobs.ts'
import { SUMMARY_COLUMNS, summaryRowSchema, toSummary, toView, VIEW_COLUMNS, viewRowSchema } from './job-view.ts'

export interface SubmitOutcome {
  /** In the order of the rows. */
  ids: string[]
  /** False where each of them was there before, with the same input. */
  isNew: boolean
}

/**
 * Inserts jobs with the rights, and in the tenant, of whoever asks. A job that is there already, of the same service,
 * operation and input, counts as submitted: a platform that gave it its id may ask again. Throws JOB_EXISTS for another
 * one of that id or identifier. On a database that is no transaction, of several jobs some may be inserted then.
 */
export async function submitJobs(db: Database, rows: readonly JobRow[], sourceJson: string): Promise<SubmitOutcome> {
  const made = await insertJobs(db, rows, sourceJson)
  if (made.size === rows.length) return { ids: rows.map(({ id }) => id), isNew: true }
  const known = await findSame(db, rows, sourceJson)
  const ids = rows.map((row) => {
    const id = made.has(row.id) ? row.id : known.get(row.identifier)
    if (id !== undefined) return id
    throw new ErgonError(
      'JOB_EXISTS',
      `there is another job with the id ${row.id} or the identifier "${row.identifier.slice(0, 200)}": give this one names of its own`,
    )
  })
  return { ids, isNew: made.size > 0 }
}

/** Submits one job by one statement; null where its id or identifier is taken. */
export async function submitNewJob(db: TenantDatabase, row: JobRow, sourceJson: string): Promise<JobView | null> {
  const [made] = await insertOwnJobs(db, [row], sourceJson, VIEW_COLUMNS)
  return made === undefined ? null : toView(viewRowSchema.parse(made))
}

const sameSchema = z.object({ identifier: z.string(), id: z.string() })

async function findSame(db: Database, rows: readonly JobRow[], sourceJson: string): Promise<Map<string, string>> {
  const same = await queryRows(
    db,
    sameSchema,
    `select j.identifier, j.id
     from jsonb_to_recordset($2::jsonb) as g(identifier text, service_name text, operation text, input_path text[], tenant_id uuid)
     join jobs.tb_job_run j on j.identifier = g.identifier
     where (j.service_name, j.operation) = (g.service_name, g.operation) and j.input_data is not distinct from $1::jsonb #> g.input_path
       and j.tenant_id is not distinct from g.tenant_id`,
    [sourceJson, JSON.stringify(rows)],
  )
  return new Map(same.map(({ identifier, id }) => [identifier, id]))
}

/** Jobs by their ids, in that order and without their outputs; those that are gone are left out. */
export async function readJobSummaries(db: Database, ids: readonly string[]): Promise<JobSummary[]> {
  const rows = await queryRows(
    db,
    summaryRowSchema,
    `select ${SUMMARY_COLUMNS} from unnest($1::uuid[]) with ordinality g (id, position)
     join jobs.tb_job_run j on j.id = g.id order by g.position`,
    [ids],
  )
  return rows.map(toSummary)
}
