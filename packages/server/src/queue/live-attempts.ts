import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

const attemptSchema = z.object({ id: z.string(), attempt: z.number() })
const identitySchema = z.object({ identity: z.string() })

/** Of these jobs the attempts that some worker holds at this moment. */
export async function findLiveAttempts(
  db: Database,
  jobIds: readonly string[],
): Promise<{ jobId: string; attempt: number }[]> {
  const sql = 'select l.job_id as id, l.attempt from jobs.live_attempts($1) l'
  const rows = await queryRows(db, attemptSchema, sql, [jobIds])
  return rows.map(({ id, attempt }) => ({ jobId: id, attempt }))
}

/** What this database calls itself, wherever its workers are: on things that several databases share. */
export async function readDatabaseIdentity(db: Database): Promise<string> {
  const [row] = await queryRows(db, identitySchema, 'select jobs.database_identity() as identity', [])
  if (row === undefined) throw new Error('the database did not say what it is')
  return row.identity
}
