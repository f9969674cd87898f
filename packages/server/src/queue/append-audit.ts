import type { Database } from '../platform/db/database.ts'

/** Adds one entry about a job to the audit trail; resolves when it is committed. */
export async function appendAudit(db: Database, jobId: string, entry: string): Promise<void> {
  await db.query('select jobs.append_audit($1, $2)', [jobId, entry])
}

/** An entry for each of several jobs, in one transaction; one that cannot be stored fails them all. Gives the ids. */
export async function appendAudits(
  db: Database,
  entries: readonly { id: string; entry: string }[],
): Promise<Set<string>> {
  await db.query('select jobs.append_audit(g.id, g.entry) from unnest($1::uuid[], $2::text[]) g (id, entry)', [
    entries.map(({ id }) => id),
    entries.map(({ entry }) => entry),
  ])
  return new Set(entries.map(({ id }) => id))
}
