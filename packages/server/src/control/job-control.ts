import type { Artifact, JobPayloadInput, JobResult } from '@ergon/contract'
import type { Readable } from 'node:stream'
import type { CancelOutcome } from '../queue/cancel.ts'
import type { RetryOutcome } from '../queue/retry.ts'
import type { JobWait } from './explain-wait.ts'
import type { JobListRow } from './list-jobs.ts'
import type { OutputPosition, OutputReading } from './read-output.ts'

export type { CancelOutcome, RetryOutcome }

/** What came of a job's output since the reading before it. */
export type OutputNews = Pick<OutputReading, 'status' | 'chunks' | 'position'>

/** What can be asked about jobs wherever they are: in this machine's own database, or behind a server's API. */
export interface JobControl {
  /** Gives the job's id, which is the payload's. */
  submitPayload(payload: JobPayloadInput): Promise<string>
  /** A job is named by its id or its identifier. */
  findJobId(reference: string): Promise<string | null>
  readJob(id: string): Promise<JobResult | null>
  /** Why a job has not started, as far as that can be asked. */
  explainWait(id: string): Promise<JobWait | null>
  readOutput(id: string, from: OutputPosition): Promise<OutputNews | null>
  /** Output behind a position as it comes, to the job's end: a reading with a final state comes last. Throws JOB_NOT_FOUND. */
  followOutput(id: string, from: OutputPosition): AsyncIterable<OutputNews>
  listJobs(filter: { status: string | null; limit: number }): Promise<JobListRow[]>
  cancelJob(id: string): Promise<CancelOutcome>
  retryJob(id: string): Promise<RetryOutcome>
  /** Of one job, or with null the newest of all; at most `limit`. */
  listArtifacts(jobId: string | null, limit?: number): Promise<Artifact[]>
  findArtifact(id: string): Promise<Artifact | null>
  /** Stores a file as a dataset of the tenant and gives its digest. */
  uploadDataset(file: string, tenantId: string | null): Promise<string>
  /** The bytes of an artifact, or of a digest. */
  openArtifact(artifact: Artifact | string): Promise<Readable>
  /** How a person gets at an artifact's bytes. */
  whereIsArtifact(artifact: Artifact): string
  /** How a person gets at a job. */
  whereIsJob(id: string): string
}
