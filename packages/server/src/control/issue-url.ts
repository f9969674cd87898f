import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import type { Submitter } from './submission.ts'

const ownerSchema = z.object({ tenant_id: z.string().nullable(), job_id: z.string().nullable(), digest: z.string() })

/** Enters in the audit trail that an address of an artifact is given out, and gives its tenant; null when there is no such artifact. */
export async function recordIssuedUrl(
  db: Database,
  artifactId: string,
  expiresAt: string,
  { tokenId, tokenName, requestId }: Submitter,
): Promise<{ tenantId: string | null } | null> {
  const [artifact] = await queryRows(
    db,
    ownerSchema,
    'select tenant_id, job_id, digest from jobs.tb_artifact where artifact_id = $1',
    [artifactId],
  )
  if (artifact === undefined) return null
  const entry = {
    format: 'ergon-audit/1',
    event: 'url_issued',
    artifact: { id: artifactId, digest: artifact.digest, expires_at: expiresAt },
    by: { token_id: tokenId, token_name: tokenName, request_id: requestId },
  }
  await db.query('insert into jobs.tb_audit (job_id, entry) values ($1, $2)', [artifact.job_id, JSON.stringify(entry)])
  return { tenantId: artifact.tenant_id }
}
