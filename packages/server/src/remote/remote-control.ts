import { createHash } from 'node:crypto'
import { openAsBlob } from 'node:fs'
import path from 'node:path'
import { Readable } from 'node:stream'
import type { ErgonClient } from '@ergon/client'
import {
  type Artifact,
  type JobFilter,
  JOB_STATUSES,
  type JobResult,
  jobResultSchema,
  hasEnded,
  type JobSummary,
} from '@ergon/contract'
import type { CancelOutcome, JobControl, OutputNews, RetryOutcome } from '../control/job-control.ts'
import type { JobListRow } from '../control/list-jobs.ts'
import { OUTPUT_START, type OutputChunk, type OutputPosition } from '../control/read-output.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { OutputFollower } from './output-follower.ts'
import { ask, askUnless, toLocalError } from './remote-error.ts'
import { isUuid } from '../platform/text/uuid.ts'

/** Jobs behind a server's API. */
export function createRemoteControl(client: ErgonClient): JobControl {
  return {
    submitPayload: (payload) => ask(async () => (await client.submit(payload)).job_id),
    findJobId: (reference) => findJobId(client, reference),
    readJob: (id) => askUnless({ JOB_NOT_FOUND: null }, async () => toResult(await client.get(id))),
    // The API tells it in the events of a job alone.
    explainWait: () => Promise.resolve(null),
    readOutput: (id, from) => askUnless({ JOB_NOT_FOUND: null }, () => readOutput(client, id, from)),
    followOutput: (id, from) => followOutput(client, id, from),
    listJobs: (filter) => ask(() => listJobs(client, filter)),
    cancelJob: (id) =>
      askUnless<CancelOutcome, CancelOutcome>({ JOB_NOT_FOUND: 'not_found', JOB_FINISHED: 'finished' }, async () => {
        await client.cancel(id)
        return 'cancelled'
      }),
    retryJob: (id) =>
      askUnless<RetryOutcome, RetryOutcome>({ JOB_NOT_FOUND: 'not_found', JOB_NOT_FAILED: 'not_failed' }, async () => {
        await client.retry(id)
        return 'queued'
      }),
    async listArtifacts(jobId, limit = Infinity) {
      if (jobId === null)
        throw new ErgonError('OWN_STACK_NEEDED', 'a server lists the artifacts of one job: say which with --job JOB')
      return (await ask(() => client.artifacts(jobId))).slice(0, limit)
    },
    findArtifact: (id) => askUnless({ ARTIFACT_NOT_FOUND: null }, () => client.artifact(id)),
    uploadDataset: (file) =>
      ask(async () => (await client.uploadDataset(path.basename(file), await blobOf(file))).digest),
    async openArtifact(artifact) {
      if (typeof artifact === 'string')
        throw new ErgonError(
          'OWN_STACK_NEEDED',
          `a server gives artifacts by their id, not by their digest: ${artifact}`,
        )
      return Readable.from(checkedBytes(await ask(() => client.openArtifact(artifact.artifact_id)), artifact))
    },
    whereIsArtifact: ({ artifact_id: id, metadata }) =>
      `fetch   ergon artifacts get ${id} --out ${wordOf(metadata.name)}`,
    whereIsJob: (id) => `job          ${id}   (ergon jobs show ${id})`,
  }
}

/** The job without the columns that its result envelope does not have. */
function toResult(job: JobResult): JobResult {
  return jobResultSchema.parse(job)
}

async function findJobId(client: ErgonClient, reference: string): Promise<string | null> {
  if (isUuid(reference)) {
    const found = await askUnless({ JOB_NOT_FOUND: null }, () => client.get(reference))
    if (found !== null) return found.job_id
  }
  const { items } = await ask(() => client.page({ identifier: reference }, { limit: 1 }))
  return items[0]?.job_id ?? null
}

async function listJobs(
  client: ErgonClient,
  { status, limit }: { status: string | null; limit: number },
): Promise<JobListRow[]> {
  const known = JOB_STATUSES.find((each) => each === status)
  const filter: JobFilter = known === undefined ? {} : { status: known }
  const rows: JobListRow[] = []
  for await (const job of client.list(filter, { pageSize: Math.min(limit, 500) })) {
    rows.push(toRow(job))
    if (rows.length === limit) break
  }
  return rows
}

function toRow(job: JobSummary): JobListRow {
  return {
    id: job.job_id,
    identifier: job.identifier,
    service_name: job.service,
    operation: job.operation,
    execution_type: job.execution_type,
    status: job.state,
    attempts: job.attempts,
    failure_code: job.failure_code,
    created_at: job.created_at === null ? null : new Date(job.created_at),
    completed_at: job.finished_at === null ? null : new Date(job.finished_at),
  }
}

/** All that there is at this moment: the API gives it in pieces. */
async function readOutput(client: ErgonClient, id: string, from: OutputPosition): Promise<OutputNews> {
  let position = from
  const chunks: OutputChunk[] = []
  for (;;) {
    const logs = await client.logs(id, {
      ...(position.attempt === 0 ? {} : { attempt: position.attempt }),
      stdoutOffset: position.stdout,
      stderrOffset: position.stderr,
    })
    // A newer attempt is read from its beginning.
    if (logs.attempt > position.attempt && position.attempt > 0) {
      position = { ...OUTPUT_START, attempt: logs.attempt }
      chunks.length = 0
      continue
    }
    const before = chunks.length
    for (const stream of ['stdout', 'stderr'] as const) {
      const { offset, text } = logs[stream]
      if (text !== '') chunks.push({ attempt: logs.attempt, stream, offset, bytes: Buffer.from(text, 'utf8') })
    }
    position = {
      attempt: logs.attempt,
      stdout: logs.stdout.next_offset,
      stderr: logs.stderr.next_offset,
      beganAt: null,
    }
    if (chunks.length === before) return { status: (await client.get(id)).state, chunks, position }
  }
}

async function* followOutput(
  client: ErgonClient,
  id: string,
  from: OutputPosition,
): AsyncGenerator<OutputNews, void, undefined> {
  const follower = new OutputFollower(from)
  let status: OutputNews['status'] = 'pending'
  try {
    for await (const event of client.stream(id)) {
      const chunks: OutputChunk[] = []
      // A final state with the end alone: what is to come of an attempt comes before it.
      if (event.event === 'end' || (event.event === 'status' && !hasEnded(event.data.state))) status = event.data.state
      if (event.event === 'stdout' || event.event === 'stderr') {
        const chunk = follower.take(event.event, event.data)
        if (chunk !== null) chunks.push(chunk)
      }
      yield { status, chunks, position: follower.position }
    }
  } catch (error) {
    throw toLocalError(error)
  }
}

/** What a shell takes as it stands: a job chooses the names of its files, and people copy what they read. */
function wordOf(name: string): string {
  return /^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(name) ? name : 'FILE'
}

/** The bytes as they come; ends with ARTIFACT_CORRUPT where they were not all, or not those of the digest. */
async function* checkedBytes(
  bytes: AsyncIterable<Uint8Array>,
  { artifact_id: id, digest }: Artifact,
): AsyncGenerator<Uint8Array, void, undefined> {
  const hash = createHash('sha256')
  try {
    for await (const piece of bytes) {
      hash.update(piece)
      yield piece
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('SERVER_UNREACHABLE', `artifact ${id} broke off: ${reason}`, { cause: error })
  }
  const received = `sha256:${hash.digest('hex')}`
  if (received !== digest)
    throw new ErgonError('ARTIFACT_CORRUPT', `artifact ${id} has the digest ${digest}, and what came has ${received}`)
}

/** Read as it is sent, so that a dataset need not fit into memory. */
async function blobOf(file: string): Promise<Blob> {
  try {
    return await openAsBlob(file)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('FILE_UNREADABLE', `${file} cannot be read: ${reason}`, { cause: error })
  }
}
