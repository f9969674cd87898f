import type { ServiceDescription, ServiceSummary } from '@ergon/contract'
import { registrationOf } from '../registry/registration-of.ts'
import { looksLikeSecret } from '../registry/security/clear-secrets.ts'
import { hasRunner } from '../registry/field-support.ts'
import type { Service } from '../registry/schema/service.ts'
import type { OpenRegistry } from './registry-file.ts'

/** The services of a registry, as callers are told of them. */
export function listServices(registry: OpenRegistry | null): ServiceSummary[] {
  if (registry === null) return []
  return registry.summaries().map(({ name, operations }) => ({ ...named(registry.service(name)), operations }))
}

/**
 * One service with what its operations take and give; throws SERVICE_NOT_FOUND. Field by field, so that what a later version
 * of the registry may say (addresses, credentials, images, policies) is told to nobody unless somebody decides so.
 */
export function describeService(registry: OpenRegistry, name: string): ServiceDescription {
  const service = registry.service(name)
  const limits = registrationOf(service.name, service.execution_type, service.security_policy)
  return {
    ...named(service),
    operations: service.operations.map((operation) => {
      const { schemas } = registry.operationOf(service.name, operation.name)
      return {
        name: operation.name,
        description: shownText(operation.description),
        input_schema: shown(schemas.input.schema),
        output_schema: shown(schemas.output.schema),
        timeout_seconds: operation.timeout,
        max_attempts: operation.max_retries + 1,
        on_worker_lost: operation.on_worker_lost ?? null,
      }
    }),
    limits: {
      rate_limit_per_minute: limits.rateLimitPerMinute,
      max_concurrent: limits.maxConcurrent,
      max_invocations_per_hour: limits.maxInvocationsPerHour,
    },
  }
}

function named(service: Service) {
  return {
    name: service.name,
    type: service.type,
    category: service.category,
    description: shownText(service.description),
    execution_type: service.execution_type,
    is_served: hasRunner(service.execution_type),
  }
}

function shownText(text: string | undefined): string | null {
  if (text === undefined) return null
  return looksLikeSecret(text) ? '[redacted]' : text
}

/** A schema, in whose defaults and examples somebody may have left what does not belong there. */
function shown(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const text = JSON.stringify(schema, (_key, value: unknown) => (typeof value === 'string' ? shownText(value) : value))
  return JSON.parse(text) as Record<string, unknown>
}
