import { createHash } from 'node:crypto'
import { OUTPUT_START, type OutputPosition } from '../../control/read-output.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'

/** All that a reader of a job's stream was told, so that any process can go on. */
export interface JobPosition {
  output: OutputPosition
  /** Digests of the last `status` and `progress`, empty before the first. */
  status: string
  progress: string
  /** How many of the final artifacts. */
  artifacts: number
  /** `end` was told: there is nothing more. */
  isOver: boolean
}

export const JOB_START: JobPosition = {
  output: OUTPUT_START,
  status: '',
  progress: '',
  artifacts: 0,
  isOver: false,
}

const ID =
  /^1\.([0-9a-f]{8})\.(\d{1,6})\.(\d{1,16}|-)\.(\d{1,9})\.(\d{1,9})\.([A-Za-z0-9_-]{8}|)\.([A-Za-z0-9_-]{8}|)\.(\d{1,4})\.([01])$/

export function formatJobPosition(jobId: string, position: JobPosition): string {
  const { output, status, progress, artifacts, isOver } = position
  const { attempt, beganAt, stdout, stderr } = output
  const parts = [1, keyOf(jobId), attempt, beganAt ?? '-', stdout, stderr, status, progress, artifacts, isOver ? 1 : 0]
  return parts.join('.')
}

/** Throws EVENT_ID_INVALID for what no stream of this job gave: to begin anew unasked would repeat what the reader has. */
export function parseJobPosition(jobId: string, text: string): JobPosition {
  const [, key, attempt, beganAt, stdout, stderr, status, progress, artifacts, over] = ID.exec(text) ?? []
  if (key !== keyOf(jobId))
    throw new ErgonError(
      'EVENT_ID_INVALID',
      `Last-Event-ID: ${JSON.stringify(text.slice(0, 100))} is no id of a stream of this job; leave it out to begin anew`,
    )
  return {
    output: {
      attempt: Number(attempt),
      stdout: Number(stdout),
      stderr: Number(stderr),
      beganAt: beganAt === '-' ? null : Number(beganAt),
    },
    status: status ?? '',
    progress: progress ?? '',
    artifacts: Number(artifacts),
    isOver: over === '1',
  }
}

/** Tells one state from another in eight characters. */
export function digestOf(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('base64url').slice(0, 8)
}

function keyOf(jobId: string): string {
  return jobId.slice(0, 8).toLowerCase()
}
