import { createReadStream } from 'node:fs'
import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import path from 'node:path'
import { type JobPayloadInput, jobPayloadSchema } from '@ergon/contract'
import type { ArtifactStore } from '../artifacts/artifact-store.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Database } from '../platform/db/database.ts'
import { enqueueJob } from '../queue/enqueue.ts'
import { registerDataset } from '../queue/register-dataset.ts'
import { describeDataset } from './describe-dataset.ts'

/** Puts a job-contract payload into the queue as a job of the executor service; the job's id is the payload's. */
export async function submitPayload(db: Database, payload: JobPayloadInput): Promise<string> {
  const parsed = jobPayloadSchema.safeParse(payload)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new ErgonError('PAYLOAD_INVALID', `${issue?.path.join('.') ?? 'payload'}: ${issue?.message ?? 'invalid'}`)
  }
  return enqueueJob(db, {
    id: payload.job_id,
    identifier: `executor_${payload.job_id}`,
    serviceName: 'executor',
    operation: payload.job_type,
    executionType: 'sandbox',
    inputJson: JSON.stringify(payload),
    tenantId: payload.workspace_id ?? null,
  })
}

/** Stores a file as a dataset that jobs of the tenant may name by the digest this returns. */
export async function uploadDataset(
  db: Database,
  store: ArtifactStore,
  file: string,
  tenantId: string | null,
): Promise<string> {
  const digest = await digestFile(file)
  await store.put(file, digest)
  await registerDataset(db, {
    tenantId,
    name: path.basename(file),
    digest,
    sizeBytes: (await stat(file)).size,
    ...describeDataset(file),
  })
  return digest
}

async function digestFile(file: string): Promise<string> {
  const hash = createHash('sha256')
  try {
    const stream: AsyncIterable<Buffer> = createReadStream(file)
    for await (const chunk of stream) hash.update(chunk)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('FILE_UNREADABLE', `${file} cannot be read: ${reason}`, { cause: error })
  }
  return `sha256:${hash.digest('hex')}`
}
