import { randomUUID } from 'node:crypto'
import type { Failure } from '@ergon/contract'
import type { ServiceRegistration } from '../../src/domain/service-registration.ts'
import type { Database } from '../../src/platform/db/database.ts'
import { claimJobs } from '../../src/queue/claim.ts'
import type { AttemptRecord, ClaimedJob } from '../../src/queue/types.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import { registerWorker } from '../../src/queue/worker-registration.ts'

/** Inserts a job as an application does and returns its id. Columns are trusted names of the test. */
export async function insertJob(db: Database, columns: Readonly<Record<string, unknown>> = {}): Promise<string> {
  const row = { identifier: `job-${randomUUID()}`, service_name: 'stripe', operation: 'charge', ...columns }
  const names = Object.keys(row)
  const { rows } = await db.query(
    `insert into jobs.tb_job_run (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning id`,
    Object.values(row),
  )
  return String(Object(rows[0]).id)
}

export interface TestWorker {
  id: string
  claim(slots?: number, lanes?: readonly string[], services?: readonly string[]): Promise<ClaimedJob[]>
  /** Claims exactly one job. */
  claimOne(): Promise<ClaimedJob>
}

export async function startWorker(
  db: Database,
  options: { lanes?: string[]; slots?: number; leaseSeconds?: number } = {},
): Promise<TestWorker> {
  const { lanes = ['http'], slots = 1_000, leaseSeconds = 15 } = options
  const id = randomUUID()
  await registerWorker(db, { id, name: 'test', pid: process.pid, lanes, slots, version: '0', leaseSeconds })
  const claim: TestWorker['claim'] = (count = 100, from = lanes, services = ['stripe', 'executor']) =>
    claimJobs(db, { workerId: id, lanes: from.map((lane) => ({ lane, slots: count })), services })
  return {
    id,
    claim,
    async claimOne() {
      const [job, ...others] = await claim(1)
      if (job === undefined || others.length > 0)
        throw new Error(`expected one job, claimed ${others.length + (job ? 1 : 0)}`)
      return job
    },
  }
}

/** The whole wide row of a job; null when it is gone. */
export async function readRow(db: Database, id: string): Promise<Record<string, unknown> | null> {
  const { rows } = await db.query('select * from jobs.tb_job_run where id = $1', [id])
  return rows.length === 0 ? null : { ...Object(rows[0]) }
}

/** The live row of a job; null when it has none. */
export async function readLive(db: Database, id: string): Promise<Record<string, unknown> | null> {
  const { rows } = await db.query('select * from jobs.tb_job_queue where job_id = $1', [id])
  return rows.length === 0 ? null : { ...Object(rows[0]) }
}

/** How often work of this job came too late, by operation. */
export async function readLate(db: Database, id: string): Promise<Record<string, number>> {
  const { rows } = await db.query(
    'select operation, late_count::int as count from jobs.tb_late_result where job_id = $1',
    [id],
  )
  return Object.fromEntries(rows.map((row) => [String(Object(row).operation), Number(Object(row).count)]))
}

export async function scalar(db: Database, text: string, values: readonly unknown[] = []): Promise<unknown> {
  const { rows } = await db.query(text, values)
  return Object.values(Object(rows[0]))[0]
}

/** Forgets jobs, workers, and what these said of services and have started of them. */
export async function emptyQueue(db: Database): Promise<void> {
  await db.query(
    `truncate jobs.tb_job_run;
     truncate jobs.tb_job_queue, jobs.tb_job_worker, jobs.tb_worker_service, jobs.tb_service, jobs.tb_service_cost`,
  )
}

export const emptyRecord: AttemptRecord = {
  outputJson: '{}',
  resourceUsage: null,
  envVersion: null,
  logs: null,
  stdout: null,
  stderr: null,
  artifacts: [],
}

export const someFailure: Failure = {
  category: 'DEPENDENCY_ERROR',
  code: 'UPSTREAM_TIMEOUT',
  message: 'no answer',
  evidence: null,
  details: null,
}

/** What a registry says of the service `stripe`. */
export function registrationOf(limit: Partial<ServiceRegistration>): ServiceRegistration {
  return {
    service: 'stripe',
    executionType: 'http',
    maxConcurrent: null,
    rateLimitPerMinute: null,
    maxInvocationsPerHour: null,
    maxCostPerHour: null,
    ...limit,
  }
}

/** A worker that knows `stripe` with these limits. */
export async function startLimitedWorker(
  db: Database,
  limit: Partial<ServiceRegistration>,
  options: Parameters<typeof startWorker>[1] = {},
): Promise<TestWorker> {
  const worker = await startWorker(db, options)
  await registerServices(db, worker.id, [registrationOf(limit)])
  return worker
}
