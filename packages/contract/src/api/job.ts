import { z } from 'zod'
import { type JobPayloadInput, jobPayloadSchema } from '../job-payload.ts'
import { jobResultSchema } from '../job-result.ts'
import { JOB_STATUSES } from '../status.ts'

const key = (most: number) => z.string().min(1).max(most)

/** A call of an operation that a service registry declares; the rest of the job follows from the registry. */
export const serviceCallSchema = z
  .object({
    service: key(200),
    operation: key(200),
    /** Checked against the operation's input schema; numbers are passed on as they are written. */
    input: z.unknown().describe("Checked against the operation's input_schema"),
    job_id: z.exactOptional(z.uuid()),
    identifier: z
      .exactOptional(key(1_000))
      .describe(
        'Unique; of a token that is bound to a tenant, the tenant’s id and a colon come before it. By default made of service, operation and id',
      ),
    tenant_id: z.exactOptional(z.uuid()).describe('Only for tokens that are bound to no tenant'),
    triggered_by: z.exactOptional(z.uuid()),
    correlation_id: z.exactOptional(key(1_000)),
    entity_type: z
      .exactOptional(key(200))
      .describe(
        'Needs the scope `entities`: callbacks that are registered for this entity are called at the job’s end',
      ),
    entity_pk: z.exactOptional(key(1_000)).describe('Needs the scope `entities`: handed to those callbacks'),
    priority: z.exactOptional(z.number().int().min(0).max(1_000)).describe('Lower is sooner; 100 by default'),
    run_at: z.exactOptional(z.iso.datetime({ offset: true })).describe('Not before this time'),
    queue: z.exactOptional(z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/)),
  })
  .meta({
    id: 'ServiceCall',
    examples: [{ service: 'co2', operation: 'fit', input: { years: 10 }, correlation_id: 'order-42' }],
  })
export type ServiceCall = z.infer<typeof serviceCallSchema>

const EXAMPLE_PAYLOAD = {
  schema_version: '1.0',
  job_id: '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10',
  job_type: 'object_execute',
  limits: { timeout_ms: 10_000, memory_mb: 256 },
  environment: { language: 'python', env_version: 'python-sci' },
  inputs: {
    object: {
      type: 'code',
      content: { format: 'text', value: 'import numpy as np; print(np.pi)' },
      runtime: { language: 'python', parameters: {} },
    },
  },
} as const satisfies JobPayloadInput

/** What `POST /v1/jobs` takes: a payload of the job contract, or a call of a service's operation. */
export const submitRequestSchema = z.union([
  jobPayloadSchema.meta({ id: 'JobPayload', examples: [EXAMPLE_PAYLOAD] }),
  serviceCallSchema,
])
export type SubmitRequest = z.input<typeof submitRequestSchema>

export const MAX_BATCH = 100
export const submitBatchSchema = z
  .object({ jobs: z.array(submitRequestSchema).min(1).max(MAX_BATCH) })
  .meta({ id: 'JobBatch' })

const listedFields = {
  job_id: z.uuid(),
  identifier: z.string(),
  service: z.string(),
  operation: z.string(),
  execution_type: z.string(),
  state: z.enum(JOB_STATUSES).describe('As the table spells it; `status` is the contract’s word'),
  tenant_id: z.uuid().nullable(),
  correlation_id: z.string().nullable(),
  entity_type: z.string().nullable(),
  entity_pk: z.string().nullable(),
  attempts: z.number().int(),
  max_attempts: z.number().int(),
  priority: z.number().int(),
  created_at: z.string().nullable(),
  run_at: z.string(),
  dead_letter_reason: z.string().nullable(),
}

/** A job in a list: without its outputs. */
export const jobSummarySchema = z
  .object({
    ...listedFields,
    status: jobResultSchema.shape.status,
    env_version: z.string().nullable(),
    started_at: z.string().nullable(),
    finished_at: z.string().nullable(),
    failure_category: z.string().nullable(),
    failure_code: z.string().nullable(),
  })
  .meta({ id: 'JobSummary' })
export type JobSummary = z.infer<typeof jobSummarySchema>

/** A job with all that it left: the contract's result envelope, and the row's columns that are not part of it. */
export const jobViewSchema = jobResultSchema.extend(listedFields).meta({ id: 'Job' })
export type JobView = z.infer<typeof jobViewSchema>

export const jobPageSchema = z
  .object({
    items: z.array(jobSummarySchema),
    next_cursor: z.string().nullable().describe('For the parameter `cursor` of the next page; null on the last one'),
  })
  .meta({ id: 'JobPage' })
export type JobPage = z.infer<typeof jobPageSchema>

/** Filters of `GET /v1/jobs`; all that are given must hold. */
export const jobFilterSchema = z.object({
  identifier: z.exactOptional(key(1_000)),
  status: z.exactOptional(z.enum(JOB_STATUSES)),
  execution_type: z.exactOptional(key(63)),
  service: z.exactOptional(key(200)),
  operation: z.exactOptional(key(200)),
  tenant_id: z.exactOptional(z.uuid()),
  correlation_id: z.exactOptional(key(1_024)),
  entity_type: z.exactOptional(key(200)),
  entity_pk: z.exactOptional(key(1_024)),
  created_after: z.exactOptional(z.iso.datetime({ offset: true })),
  created_before: z.exactOptional(z.iso.datetime({ offset: true })),
})
export type JobFilter = z.infer<typeof jobFilterSchema>

/** Longest `wait`, in seconds: below the time-outs that proxies have. */
export const MAX_WAIT_SECONDS = 50
