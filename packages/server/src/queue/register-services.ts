import type { ServiceRegistration } from '../domain/service-registration.ts'
import type { Database } from '../platform/db/database.ts'

/**
 * Says all services that the worker knows; replaces what it said before. The strictest word of all workers holds.
 * Throws WORKER_UNKNOWN, TOO_MANY_SERVICES.
 */
export async function registerServices(
  db: Database,
  workerId: string,
  services: readonly ServiceRegistration[],
): Promise<void> {
  const column = <Value>(read: (service: ServiceRegistration) => Value) => services.map(read)
  await db.query('select jobs.register_services($1, $2, $3, $4, $5, $6, $7)', [
    workerId,
    column(({ service }) => service),
    column(({ executionType }) => executionType),
    column(({ maxConcurrent }) => maxConcurrent),
    column(({ rateLimitPerMinute }) => rateLimitPerMinute),
    column(({ maxInvocationsPerHour }) => maxInvocationsPerHour),
    column(({ maxCostPerHour }) => maxCostPerHour),
  ])
}
