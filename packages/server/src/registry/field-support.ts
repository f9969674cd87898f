import type { ExecutionType } from '@ergon/contract'
import type { RegistryExecutionType } from './schema/service.ts'

/** What people call each type, in lists and messages. */
export const EXECUTION_TYPE_NAMES = {
  http: 'HTTP API',
  shell: 'Shell Script',
  docker: 'Docker Container',
  serverless: 'Serverless Function',
  sandbox: 'Sandbox',
  wasm: 'WebAssembly Module',
  kubernetes: 'Kubernetes Job',
} as const satisfies Record<ExecutionType, string>

/**
 * What a registry may say and this build does not do yet, type by type. Null: no runner serves the type at all, so its
 * services are checked and never claimed. A listed field is refused by name where it is used; docs/registry.md shows
 * the table. Whoever makes a field work takes it off here.
 */
export const NOT_ENFORCED_YET = {
  http: [],
  shell: [],
  docker: [],
  serverless: [
    'security_policy.resource_limits.cpu_cores',
    'security_policy.resource_limits.memory_mb',
    'security_policy.resource_limits.disk_mb',
    'security_policy.resource_limits.cpu_seconds',
  ],
  sandbox: [],
} as const satisfies Record<RegistryExecutionType, readonly string[] | null>

/** The types that a worker of this build can serve. */
export const SERVED_EXECUTION_TYPES: readonly string[] = Object.entries(NOT_ENFORCED_YET)
  .filter(([, fields]) => fields !== null)
  .map(([type]) => type)

/** True when this build has a runner for the type. */
export function hasRunner(type: RegistryExecutionType): boolean {
  return NOT_ENFORCED_YET[type] !== null
}
