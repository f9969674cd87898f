import { z } from 'zod'
import { type Database, queryRows } from '../platform/db/database.ts'

export interface NewJob {
  serviceName: string
  operation: string
  executionType: string
  /** The job's input as JSON text, at most 1 MiB. */
  inputJson: string | null
  /** By default a new one. */
  id?: string
  /** Unique; by default made of service, operation and id. */
  identifier?: string
  idempotencyKey?: string | null
  runnerConfigJson?: string | null
  securityContextJson?: string | null
  /** 1 to 1000; 3 by default. */
  maxAttempts?: number
  /** 1 to 604800; null is the payload's own limit, else 300. */
  timeoutSeconds?: number | null
  tenantId?: string | null
  triggeredBy?: string | null
  correlationId?: string | null
  entityType?: string | null
  entityPk?: string | null
  /** Lower is sooner; 100 by default. */
  priority?: number
  /** Now by default. */
  runAt?: Date | null
  queue?: string | null
  concurrencyKey?: string | null
  executionKey?: string | null
  onWorkerLost?: 'retry' | 'fail' | null
  traceparent?: string | null
}

const enqueuedSchema = z.object({ id: z.string() })

/**
 * Puts a job into the queue and returns its id; a job of the same tenant and identifier is returned instead of made
 * again. Throws INPUT_TOO_LARGE, INVALID_LIMIT or IDENTIFIER_TAKEN.
 */
export async function enqueueJob(db: Database, job: NewJob): Promise<string> {
  const rows = await queryRows(
    db,
    enqueuedSchema,
    `select jobs.enqueue_job(
       service_name => $1, operation => $2, input_data => $3::jsonb, execution_type => $4, id => $5, identifier => $6,
       idempotency_key => $7, runner_config => $8::jsonb, security_context => $9::jsonb, max_attempts => $10,
       timeout_seconds => $11, tenant_id => $12, triggered_by => $13, correlation_id => $14, entity_type => $15,
       entity_pk => $16, priority => $17::smallint, run_at => $18, queue => $19, concurrency_key => $20,
       execution_key => $21, on_worker_lost => $22, traceparent => $23) as id`,
    [
      job.serviceName,
      job.operation,
      job.inputJson,
      job.executionType,
      job.id ?? null,
      job.identifier ?? null,
      job.idempotencyKey ?? null,
      job.runnerConfigJson ?? null,
      job.securityContextJson ?? null,
      job.maxAttempts ?? 3,
      job.timeoutSeconds ?? null,
      job.tenantId ?? null,
      job.triggeredBy ?? null,
      job.correlationId ?? null,
      job.entityType ?? null,
      job.entityPk ?? null,
      job.priority ?? 100,
      job.runAt ?? null,
      job.queue ?? null,
      job.concurrencyKey ?? null,
      job.executionKey ?? null,
      job.onWorkerLost ?? null,
      job.traceparent ?? null,
    ],
  )
  const row = rows[0]
  if (row === undefined) throw new Error('jobs.enqueue_job returned no row')
  return row.id
}
