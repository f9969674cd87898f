import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

export interface NewDataset {
  tenantId: string | null
  name: string
  format: string
  digest: string
  sizeBytes: number
  contentType: string
}

const datasetSchema = z.object({ artifact_id: z.string() })

/** Makes a stored file usable by the tenant's jobs, which name it by digest; returns its artifact id, the known one if there is one. */
export async function registerDataset(db: Database, dataset: NewDataset): Promise<string> {
  const { tenantId, name, format, digest, sizeBytes, contentType } = dataset
  const rows = await queryRows(
    db,
    datasetSchema,
    'select jobs.register_dataset($1, $2, $3, $4, $5, $6) as artifact_id',
    [tenantId, name, format, digest, sizeBytes, contentType],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('jobs.register_dataset returned no row')
  return row.artifact_id
}
