import { setTimeout as sleep } from 'node:timers/promises'
import type { Artifact, Failure } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import { appendAudit, appendAudits } from '../queue/append-audit.ts'
import { type Completion, completeJobs } from '../queue/complete.ts'
import { failJob } from '../queue/fail.ts'
import { releaseJob } from '../queue/release.ts'
import type { Database } from '../platform/db/database.ts'
import { makeVisible } from '../platform/text/sanitise-output.ts'
import type { ResourceUsage, RunnerOutcome } from '../runners/runner.ts'
import type { Attempt } from './attempt.ts'
import { type AuditAuthor, type AuditEnding, type AuditEvent, composeAuditEntry } from './audit-entry.ts'
import { WriteBatches } from './write-batches.ts'

const MAX_RETRY_DELAY_MS = 2_000

/** Everything of a result that is written beside the verdict. */
export interface RecordedResult {
  outputJson: string | null
  stdout: string
  stderr: string
  artifacts: readonly Artifact[]
  resourceUsage: ResourceUsage | null
  envVersion: string | null
  logs: (RunnerOutcome['logs'][number] & { timestamp: string })[]
  /** What the runner adds to the audit trail. */
  audit: RunnerOutcome['audit'] | null
}

/**
 * Writes outcomes under the attempt's fence, patiently while the database is away and the attempt may still be ours;
 * each with its entry of the audit trail in the same statement, so that there is none without the other.
 */
export interface OutcomeRecorder {
  complete(attempt: Attempt, result: RecordedResult): Promise<void>
  fail(attempt: Attempt, failure: Failure, retryDelayMs: number | null, result: RecordedResult): Promise<void>
  release(attempt: Attempt): Promise<void>
  /** Enters what an attempt is allowed before it runs; throws AUDIT_UNWRITABLE. */
  announce(attempt: Attempt): Promise<void>
  /** Enters that an attempt which somebody cancelled has ended; its outcome is told already, so one try is enough. */
  stopped(attempt: Attempt): Promise<void>
}

export function createOutcomeRecorder(db: Database, logger: Logger, author: () => AuditAuthor): OutcomeRecorder {
  const successes = new WriteBatches<Completion>({
    write: (completions) => completeJobs(db, completions),
    isDataFault,
    sizeOf: ({ outputJson, stdout, stderr }) =>
      (outputJson?.length ?? 0) + (stdout?.length ?? 0) + (stderr?.length ?? 0),
  })
  const announcements = new WriteBatches<{ id: string; entry: string }>({
    write: (entries) => appendAudits(db, entries),
    isDataFault,
    sizeOf: ({ entry }) => entry.length,
  })
  const entryOf = (event: AuditEvent, attempt: Attempt, ending: AuditEnding | null) =>
    composeAuditEntry(event, attempt, author(), ending)
  const fail = async (
    { job }: Attempt,
    failure: Failure,
    retryDelayMs: number | null,
    result: RecordedResult,
    auditEntry: string,
  ) => {
    const record = { id: job.id, fence: job.fence, failure: sanitise(failure), retryDelayMs, ...result, auditEntry }
    const outcome = await failJob(db, record).catch((error: unknown) => {
      if (!isDataFault(error)) throw error
      // The verdict stands whatever the job wrote: only its unstorable result is left out.
      return failJob(db, { ...record, outputJson: null })
    })
    logger.info(
      { jobId: job.id, attempt: job.attempt, category: failure.category, code: failure.code, outcome },
      'job failed',
    )
  }
  return {
    async complete(attempt, result) {
      const auditEntry = entryOf('ended', attempt, { failure: null, result })
      await persistently(attempt, logger, async () => {
        const { id, fence } = attempt.job
        try {
          const accepted = await successes.write({ id, fence, ...result, auditEntry })
          logger.info({ jobId: id, attempt: attempt.job.attempt, accepted }, 'job completed')
        } catch (error) {
          if (!isDataFault(error)) throw error
          const failure = notStorable(error)
          const without = { ...result, outputJson: null }
          await fail(attempt, failure, null, without, entryOf('ended', attempt, { failure, result: without }))
        }
      })
    },
    async fail(attempt, failure, retryDelayMs, result) {
      const auditEntry = entryOf('ended', attempt, { failure, result })
      await persistently(attempt, logger, () => fail(attempt, failure, retryDelayMs, result, auditEntry))
    },
    async release(attempt) {
      const auditEntry = entryOf('released', attempt, { failure: null, result: null })
      await persistently(attempt, logger, () => releaseJob(db, attempt.job, auditEntry))
    },
    async announce(attempt) {
      try {
        await announcements.write({ id: attempt.job.id, entry: entryOf('allowed', attempt, null) })
      } catch (error) {
        throw new ErgonError(
          'AUDIT_UNWRITABLE',
          `the job has exceptions from its isolation (${attempt.resolved?.allowed.exceptions.join(', ')}) and was not run, since the audit trail could not be written`,
          { cause: error },
        )
      }
    },
    async stopped(attempt) {
      try {
        const entry = entryOf('stopped', attempt, { failure: null, result: null })
        await appendAudit(db, attempt.job.id, entry)
      } catch (error) {
        logger.warn({ err: error, jobId: attempt.job.id }, 'the end of a cancelled attempt is not in the audit trail')
      }
    },
  }
}

/** An exception's message and traceback are the job's own text: as hostile as what it prints. */
function sanitise(failure: Failure): Failure {
  const { details } = failure
  const traceback = details?.traceback ?? null
  return {
    ...failure,
    message: makeVisible(failure.message),
    details: details === null ? null : { ...details, traceback: traceback === null ? null : makeVisible(traceback) },
  }
}

/** Tries again until it succeeds or the attempt is known to be lost; the fence makes a repeated write harmless. */
async function persistently(attempt: Attempt, logger: Logger, write: () => Promise<unknown>): Promise<void> {
  for (let delayMs = 100; ; delayMs = Math.min(MAX_RETRY_DELAY_MS, delayMs * 2)) {
    try {
      await write()
      return
    } catch (error) {
      // What the database cannot hold now it cannot hold later: a slot must not wait for it.
      if (attempt.abortReason === 'lost' || attempt.abortReason === 'cancelled' || isDataFault(error)) throw error
      logger.warn({ err: error, jobId: attempt.job.id }, 'the outcome could not be written yet')
      await sleep(delayMs)
    }
  }
}

/** PostgreSQL's classes for values it cannot hold: data exceptions and exceeded program limits. */
function isDataFault(error: unknown): boolean {
  const state = error instanceof Error && 'code' in error ? String(error.code) : ''
  return state.startsWith('22') || state.startsWith('54')
}

function notStorable(error: unknown): Failure {
  const reason = error instanceof Error ? error.message : String(error)
  return {
    category: 'USER_CODE_ERROR',
    code: 'RESULT_NOT_STORABLE',
    message: `result.json cannot be stored: ${reason.slice(0, 200)}`,
    evidence: null,
    details: null,
  }
}
