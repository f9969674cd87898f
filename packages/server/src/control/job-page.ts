import type { JobFilter, JobPage } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { SUMMARY_COLUMNS, summaryRowSchema, toSummary } from './job-view.ts'

/** Where a page ended: jobs of one moment are told apart by their ids. Microseconds, which a Date does not have. */
const cursorSchema = z.tuple([z.iso.datetime({ precision: 6 }), z.uuid()])
const MOMENT = `to_char(j.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`
const pageRowSchema = summaryRowSchema.extend({ moment: z.string() })

/** Each filter with the condition that it is; a service's name is compared as workers do, without case. */
const CONDITIONS: Readonly<Record<keyof JobFilter, (parameter: string) => string>> = {
  identifier: (p) => `j.identifier = ${p}`,
  status: (p) => `j.status = ${p}`,
  execution_type: (p) => `j.execution_type = ${p}`,
  service: (p) => `lower(j.service_name) = lower(${p})`,
  operation: (p) => `lower(j.operation) = lower(${p})`,
  tenant_id: (p) => `j.tenant_id = ${p}`,
  correlation_id: (p) => `j.correlation_id = ${p}`,
  entity_type: (p) => `j.entity_type = ${p}`,
  entity_pk: (p) => `j.entity_pk = ${p}`,
  created_after: (p) => `j.created_at >= ${p}`,
  created_before: (p) => `j.created_at < ${p}`,
}

export interface PageQuestion {
  filter: JobFilter
  limit: number
  /** Where the page before ended, null for the first. */
  cursor: string | null
  /** Whose they are, as row-level security has it too: said here as well, an index finds them. */
  tenantId: string | null
  /** Only jobs that nobody tries again, with the reason. */
  onlyDeadLetters?: boolean
}

/** Jobs from the newest to the oldest, a page at a time; jobs that come meanwhile move none to another page. Throws CURSOR_INVALID. */
export async function listJobPage(db: Database, question: PageQuestion): Promise<JobPage> {
  const { filter, limit, cursor, tenantId, onlyDeadLetters = false } = question
  const values: unknown[] = [limit + 1]
  const conditions = ['j.created_at is not null']
  if (tenantId !== null) conditions.push(`j.tenant_id = $${values.push(tenantId)}`)
  if (onlyDeadLetters) conditions.push('j.dead_letter_reason is not null')
  for (const [name, condition] of Object.entries(CONDITIONS)) {
    const value = filter[name as keyof JobFilter]
    if (value !== undefined) conditions.push(condition(`$${values.push(value)}`))
  }
  if (cursor !== null) {
    const [moment, id] = parseCursor(cursor)
    conditions.push(`(j.created_at, j.id) < ($${values.push(moment)}::timestamptz, $${values.push(id)}::uuid)`)
  }
  const rows = await queryRows(
    db,
    pageRowSchema,
    `select ${SUMMARY_COLUMNS}, ${MOMENT} as moment from jobs.tb_job_run j where ${conditions.join(' and ')}
     order by j.created_at desc, j.id desc limit $1`,
    values,
  )
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return {
    items: shown.map((row) => toSummary(row)),
    next_cursor: rows.length > limit && last !== undefined ? toCursor(last.moment, last.job_id) : null,
  }
}

function toCursor(moment: string, id: string): string {
  return Buffer.from(JSON.stringify([moment, id])).toString('base64url')
}

function parseCursor(text: string): z.infer<typeof cursorSchema> {
  try {
    return cursorSchema.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')))
  } catch {
    throw new ErgonError('CURSOR_INVALID', 'cursor: expected the next_cursor of an earlier answer, unchanged')
  }
}
