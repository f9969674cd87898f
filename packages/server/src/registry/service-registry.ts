import type { ExecutionType } from '@ergon/contract'
import { ErgonError } from '../platform/errors/ergon-error.ts'

/** What a worker needs to run one operation of a service. */
export interface ResolvedService {
  name: string
  operation: string
  executionType: ExecutionType
  runnerConfig: unknown
}

/** The services this worker knows; a job of any other is never claimed. */
export interface ServiceRegistry {
  /** Names in lower case, as the queue compares them. */
  serviceNames(): string[]
  /** The service and operation, looked up without regard to case; throws SERVICE_NOT_FOUND. */
  resolve(serviceName: string, operation: string): ResolvedService
}

/**
 * The registry of a worker without a registry file: the built-in `executor`, whose operations are the contract's job
 * types (the runner refuses the others by name). Its configuration is its sandbox policy, null for the default.
 */
export function createBuiltInServices(executorPolicy: unknown): ServiceRegistry {
  return {
    serviceNames: () => ['executor'],
    resolve(serviceName, operation) {
      if (serviceName.toLowerCase() !== 'executor') {
        throw new ErgonError('SERVICE_NOT_FOUND', `Service '${serviceName}' not found. Available: [executor]`)
      }
      return { name: 'executor', operation, executionType: 'sandbox', runnerConfig: executorPolicy }
    },
  }
}
