import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { artifactRowsJson } from './artifact-rows.ts'
import type { AttemptRecord, JobClaim } from './types.ts'

export interface Completion extends JobClaim, AttemptRecord {}

const recordedSchema = z.object({ id: z.string() })

/**
 * Records successes in one transaction and returns the ids that counted; the others had lost their fence and are only
 * counted as late. One value that the database cannot hold fails the whole batch.
 */
export async function completeJobs(db: Database, completions: readonly Completion[]): Promise<Set<string>> {
  const column = <Value>(read: (completion: Completion) => Value) => completions.map(read)
  const rows = await queryRows(
    db,
    recordedSchema,
    `select c.id, jobs.append_audit(g.id, g.entry)
     from jobs.complete_jobs($1, $2, $3, $4, $5, $6, $7, $8, $9) c (id)
     join unnest($1::uuid[], $10::text[]) g (id, entry) on g.id = c.id`,
    [
      column(({ id }) => id),
      column(({ fence }) => fence),
      column(({ outputJson }) => outputJson),
      column(({ resourceUsage }) => toJson(resourceUsage)),
      column(({ envVersion }) => envVersion),
      column(({ logs }) => toJson(logs)),
      column(({ stdout }) => stdout),
      column(({ stderr }) => stderr),
      column(({ artifacts }) => artifactRowsJson(artifacts)),
      column(({ auditEntry }) => auditEntry ?? null),
    ],
  )
  return new Set(rows.map(({ id }) => id))
}

/** Records one success; false when it came too late. */
export async function completeJob(db: Database, completion: Completion): Promise<boolean> {
  const recorded = await completeJobs(db, [completion])
  return recorded.has(completion.id)
}

function toJson(value: unknown): string | null {
  return value === null ? null : JSON.stringify(value)
}
