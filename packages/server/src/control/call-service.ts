import { randomUUID } from 'node:crypto'
import type { Database } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { enqueueJob } from '../queue/enqueue.ts'
import type { FoundOperation } from './registry-file.ts'

/** Refuses input that the worker would refuse, before there is a job; throws INPUT_INVALID with the place. */
export function requireInput({ service, operation, schemas }: FoundOperation, inputJson: string): void {
  const mismatch = schemas.input.check(inputJson)
  if (mismatch === null) return
  throw new ErgonError(
    'INPUT_INVALID',
    `input${mismatch.pointer}: ${mismatch.message} (input_schema of ${service.name}.${operation.name})`,
  )
}

/** Puts one call of an operation into the queue and gives the job's id; the worker takes all but the input from its registry. */
export async function submitCall(
  db: Database,
  { service, operation }: FoundOperation,
  inputJson: string,
): Promise<string> {
  const id = randomUUID()
  return enqueueJob(db, {
    id,
    identifier: `${service.name}_${operation.name}_${id}`,
    serviceName: service.name,
    operation: operation.name,
    executionType: service.execution_type,
    inputJson,
    maxAttempts: operation.max_retries + 1,
    timeoutSeconds: Math.ceil(operation.timeout),
    onWorkerLost: operation.on_worker_lost ?? null,
  })
}
