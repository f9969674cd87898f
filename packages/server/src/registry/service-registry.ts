import type { ExecutionType } from '@ergon/contract'
import type { RetryRules } from '../domain/retry-policy.ts'
import type { ServiceRegistration } from '../domain/service-registration.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { registrationOf } from './registration-of.ts'
import { EXECUTOR_POLICY, sandboxPolicySchema } from '../domain/sandbox-policy.ts'
import { type AllowedPolicy, describeSandboxPolicy } from './allowed-policy.ts'
import type { OperationSchemas } from './parse-registry.ts'
import type { SecretSource } from './secret-source.ts'

/** What a worker needs to run one operation of a service. */
export interface ResolvedService {
  /** Both as the registry spells them. */
  name: string
  operation: string
  executionType: ExecutionType
  /** What the type's runner checks and obeys: a `ServiceConfig`, the same object for all jobs of one version of a registry. */
  runnerConfig: unknown
  /** What its runner holds and nothing may show; null where jobs run in a sandbox and get no secret. */
  secrets: SecretSource | null
  /** What the audit trail says that its jobs may do. */
  allowed: AllowedPolicy
  /** The operation's own rules; null for the built-in service, whose payloads carry theirs. */
  rules: OperationRules | null
}

export interface OperationRules extends OperationSchemas {
  /** The most a job of the operation may take, in seconds; its row can only lower it. */
  timeoutSeconds: number
  /** The most attempts, the first one included; the row can only lower it. */
  maxAttempts: number
  retry: RetryRules
  /** runner_config as the file has it, in canonical JSON: what a row may carry, for comparison. */
  statedRunnerConfig: string
}

/** The services this worker knows; a job of any other is never claimed. */
export interface ServiceRegistry {
  /** Names in lower case, as the queue compares them. */
  serviceNames(): readonly string[]
  /** The same services with what the whole fleet must know of them; the same array for all of one version. */
  registrations(): readonly ServiceRegistration[]
  /** The service and operation, looked up without regard to case; throws SERVICE_NOT_FOUND or OPERATION_NOT_FOUND. */
  resolve(serviceName: string, operation: string): ResolvedService
}

/**
 * The registry of a worker without a registry file: the built-in `executor`, whose operations are the contract's job
 * types (the runner refuses the others by name). Its configuration is its sandbox policy, null for the default.
 */
export function createBuiltInServices(executorPolicy: unknown): ServiceRegistry {
  const registrations = [registrationOf('executor', 'sandbox', {})]
  const policy = sandboxPolicySchema.safeParse(executorPolicy)
  const allowed = describeSandboxPolicy(policy.success ? policy.data : EXECUTOR_POLICY)
  return {
    serviceNames: () => ['executor'],
    registrations: () => registrations,
    resolve(serviceName, operation) {
      if (serviceName.toLowerCase() !== 'executor') throw serviceNotFound(serviceName, ['executor'])
      return {
        name: 'executor',
        operation,
        executionType: 'sandbox',
        runnerConfig: executorPolicy,
        secrets: null,
        allowed,
        rules: null,
      }
    },
  }
}

/** Services that can be replaced while jobs run: a job keeps what it was resolved to. */
export class ReplaceableServices implements ServiceRegistry {
  #current: ServiceRegistry

  constructor(first: ServiceRegistry) {
    this.#current = first
  }

  replace(next: ServiceRegistry): void {
    this.#current = next
  }

  serviceNames(): readonly string[] {
    return this.#current.serviceNames()
  }

  registrations(): readonly ServiceRegistration[] {
    return this.#current.registrations()
  }

  resolve(serviceName: string, operation: string): ResolvedService {
    return this.#current.resolve(serviceName, operation)
  }
}

const MAX_LISTED = 50

/** The contract's words, which tools match on. */
export function serviceNotFound(name: string, available: readonly string[]): ErgonError {
  return new ErgonError(
    'SERVICE_NOT_FOUND',
    `Service '${name.slice(0, 200)}' not found. Available: [${listed(available)}]`,
  )
}

export function operationNotFound(operation: string, service: string, available: readonly string[]): ErgonError {
  return new ErgonError(
    'OPERATION_NOT_FOUND',
    `Operation '${operation.slice(0, 200)}' of service '${service}' not found. Available: [${listed(available)}]`,
  )
}

function listed(names: readonly string[]): string {
  const more = names.length > MAX_LISTED ? [`… ${names.length - MAX_LISTED} more`] : []
  return [...names.slice(0, MAX_LISTED), ...more].join(', ')
}
