import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { artifactRowsJson } from './artifact-rows.ts'
import type { ArtifactRecord, JobClaim } from './types.ts'

const acceptedSchema = z.object({ accepted: z.boolean() })

/** Registers stored files of a running job before its outcome; false when the job is not ours any more. The same id twice is one row. */
export async function registerArtifacts(
  db: Database,
  claim: JobClaim,
  artifacts: readonly ArtifactRecord[],
): Promise<boolean> {
  const rows = await queryRows(db, acceptedSchema, 'select jobs.register_artifacts($1, $2, $3) as accepted', [
    claim.id,
    claim.fence,
    artifactRowsJson(artifacts) ?? '[]',
  ])
  return rows[0]?.accepted === true
}
