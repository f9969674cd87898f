import { z } from 'zod'

const named = {
  name: z.string(),
  type: z.string(),
  category: z.string(),
  description: z.string().nullable(),
  execution_type: z.string(),
  is_served: z.boolean().describe('Whether this version of Ergon has a runner for its type'),
}

export const serviceSummarySchema = z
  .object({ ...named, operations: z.array(z.string()).describe('Their names') })
  .meta({ id: 'ServiceSummary' })
export type ServiceSummary = z.infer<typeof serviceSummarySchema>
export const serviceListSchema = z.object({ items: z.array(serviceSummarySchema) }).meta({ id: 'ServiceList' })

const operationSchema = z
  .object({
    name: z.string(),
    description: z.string().nullable(),
    input_schema: z.record(z.string(), z.unknown()).describe('JSON Schema 2020-12'),
    output_schema: z.record(z.string(), z.unknown()).describe('JSON Schema 2020-12'),
    timeout_seconds: z.number(),
    max_attempts: z.number().int(),
    on_worker_lost: z.enum(['retry', 'fail']).nullable(),
  })
  .meta({ id: 'Operation' })

export const serviceSchema = z
  .object({
    ...named,
    operations: z.array(operationSchema),
    limits: z
      .object({
        rate_limit_per_minute: z.number().int().nullable(),
        max_concurrent: z.number().int().nullable(),
        max_invocations_per_hour: z.number().int().nullable(),
      })
      .describe('Over all workers; null where the service states none'),
  })
  .meta({ id: 'Service' })
/** What a caller needs to know of a service. Where it runs, with what credentials and under which policy is not part of it. */
export type ServiceDescription = z.infer<typeof serviceSchema>

export const environmentSchema = z
  .object({
    name: z.string(),
    env_version: z.string().describe('For `environment.env_version` of a payload, as is the name'),
    language: z.string(),
    is_default: z.boolean().describe('Whether the name alone means this version'),
  })
  .meta({ id: 'Environment' })
export type EnvironmentSummary = z.infer<typeof environmentSchema>
export const environmentListSchema = z.object({ items: z.array(environmentSchema) }).meta({ id: 'EnvironmentList' })
