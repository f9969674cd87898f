import type { ExecutionType } from '@ergon/contract'
import type { ServiceRegistration } from '../domain/service-registration.ts'

/** A service's word to the fleet, by what its policy says of limits. */
export function registrationOf(
  service: string,
  executionType: ExecutionType,
  policy: {
    max_concurrent?: number
    rate_limit_per_minute?: number
    cost_limits?: { max_invocations_per_hour?: number; max_cost_per_hour?: number }
  },
): ServiceRegistration {
  return {
    service,
    executionType,
    maxConcurrent: policy.max_concurrent ?? null,
    rateLimitPerMinute: policy.rate_limit_per_minute ?? null,
    maxInvocationsPerHour: policy.cost_limits?.max_invocations_per_hour ?? null,
    maxCostPerHour: policy.cost_limits?.max_cost_per_hour ?? null,
  }
}
