import type { Database } from '../platform/db/database.ts'

export interface WorkerRegistration {
  /** A new one for each start: a name that comes back would defeat fencing. */
  id: string
  name: string
  pid: number
  lanes: readonly string[]
  /** The most jobs the worker may hold at once. */
  slots: number
  version: string
  /** Silence after which the worker counts as lost, in seconds; 15 by default. */
  leaseSeconds?: number
}

/** Makes the worker known: without it no claim. */
export async function registerWorker(db: Database, worker: WorkerRegistration): Promise<void> {
  await db.query('select jobs.register_worker($1, $2, $3, $4, $5, $6, $7)', [
    worker.id,
    worker.name,
    worker.pid,
    worker.lanes,
    worker.slots,
    worker.version,
    worker.leaseSeconds ?? 15,
  ])
}

/** From now on the worker's claims are refused with WORKER_DRAINING. */
export async function drainWorker(db: Database, workerId: string): Promise<void> {
  await db.query('select jobs.drain_worker($1)', [workerId])
}

/** Signs the worker off. Jobs it still holds are lost at the next rescue. */
export async function deregisterWorker(db: Database, workerId: string): Promise<void> {
  await db.query('select jobs.deregister_worker($1)', [workerId])
}
