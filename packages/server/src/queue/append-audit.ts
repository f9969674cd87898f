import type { Database } from '../platform/db/database.ts'

/** Adds one entry about a job to the audit trail; resolves when it is committed. */
export async function appendAudit(db: Database, jobId: string, entry: string): Promise<void> {
  await db.query('select jobs.append_audit($1, $2)', [jobId, entry])
}
