import { createHash, randomUUID } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { TestApi } from './api-fixture.ts'

interface NewArtifact {
  tenantId: string | null
  bytes: Buffer | string
  name?: string
  contentType?: string
  jobId?: string
}

/** An artifact as a worker leaves it: its bytes in the store, its row in the database. */
export async function leaveArtifact(
  { db, store, folder }: TestApi,
  { tenantId, bytes, name = 'plot.png', contentType = 'image/png', jobId }: NewArtifact,
): Promise<{ id: string; digest: string }> {
  const id = randomUUID()
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
  const source = path.join(folder, id)
  await writeFile(source, bytes)
  await store.put(source, digest)
  await db.admin.query(
    `insert into jobs.tb_artifact (artifact_id, job_id, attempt, tenant_id, kind, format, name, digest, size_bytes, content_type)
     values ($1, $2, $3, $4, 'plot', 'png', $5, $6, $7, $8)`,
    [id, jobId ?? randomUUID(), 1, tenantId, name, digest, Buffer.byteLength(bytes), contentType],
  )
  return { id, digest }
}
