import { randomUUID } from 'node:crypto'
import type { Dataset } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { describeDataset } from './describe-dataset.ts'

const rowSchema = z.object({
  artifact_id: z.string(),
  digest: z.string(),
  size_bytes: z.coerce.number(),
  name: z.string(),
  format: z.string(),
})
const COLUMNS = 'artifact_id, digest, size_bytes, name, format'

export interface StoredFile {
  name: string
  digest: string
  sizeBytes: number
}

/**
 * Makes stored bytes a dataset of the tenant, whose rights the insert is made with; a tenant that has them already keeps the
 * dataset that it has, under its first name.
 */
export async function addDataset(
  db: Database,
  tenantId: string | null,
  { name, digest, sizeBytes }: StoredFile,
): Promise<{ dataset: Dataset; isNew: boolean }> {
  const { format, contentType } = describeDataset(name)
  const [added] = await queryRows(
    db,
    rowSchema,
    `insert into jobs.tb_artifact (artifact_id, tenant_id, kind, format, name, digest, size_bytes, content_type)
     values ($1, $2, 'dataset', $3, $4, $5, $6, $7)
     on conflict (tenant_id, digest) where job_id is null do nothing
     returning ${COLUMNS}`,
    [randomUUID(), tenantId, format, name, digest, sizeBytes, contentType],
  )
  if (added !== undefined) return { dataset: added, isNew: true }
  const [known] = await queryRows(
    db,
    rowSchema,
    `select ${COLUMNS} from jobs.tb_artifact where job_id is null and digest = $1 and tenant_id is not distinct from $2`,
    [digest, tenantId],
  )
  if (known === undefined) throw new Error(`the dataset ${digest} was there and is gone`)
  return { dataset: known, isNew: false }
}
