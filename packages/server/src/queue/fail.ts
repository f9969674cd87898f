import type { Failure } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'
import { artifactRowsJson } from './artifact-rows.ts'
import type { AttemptRecord, JobClaim } from './types.ts'

export interface FailureRecord extends JobClaim, AttemptRecord {
  failure: Failure
  /** When to try again, from now; null when this failure is not to be retried. */
  retryDelayMs: number | null
  /** Why the job is given up; by default NOT_RETRYABLE or ATTEMPTS_EXHAUSTED. */
  deadLetterReason?: string
}

/** `late`: the fence was gone, nothing changed. `failed`: for good, by policy or because no attempt is left. */
export type FailureOutcome = 'retried' | 'failed' | 'late'

const outcomeSchema = z.object({ outcome: z.enum(['retried', 'failed', 'late']) })

/** Records a failed attempt: schedules the next one when a delay is given and attempts are left, else ends the job. */
export async function failJob(db: Database, record: FailureRecord): Promise<FailureOutcome> {
  const rows = await queryRows(
    db,
    outcomeSchema,
    `select r.outcome, case when r.outcome <> 'late' then jobs.append_audit($1, $13) end
     from jobs.record_failure($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) r (outcome)`,
    [
      record.id,
      record.fence,
      JSON.stringify(record.failure),
      record.retryDelayMs === null ? null : Math.round(record.retryDelayMs),
      record.deadLetterReason ?? null,
      record.outputJson,
      record.resourceUsage === null ? null : JSON.stringify(record.resourceUsage),
      record.envVersion,
      record.logs === null ? null : JSON.stringify(record.logs),
      record.stdout,
      record.stderr,
      artifactRowsJson(record.artifacts),
      record.auditEntry ?? null,
    ],
  )
  return rows[0]?.outcome ?? 'late'
}
