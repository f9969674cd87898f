import { z } from 'zod'
import { dockerRunnerConfigSchema, dockerSecurityPolicySchema } from './docker.ts'
import { httpRunnerConfigSchema, httpSecurityPolicySchema } from './http.ts'
import { sandboxRunnerConfigSchema, sandboxSecurityPolicySchema } from './sandbox.ts'
import { serverlessRunnerConfigSchema, serverlessSecurityPolicySchema } from './serverless.ts'
import { shellRunnerConfigSchema, shellSecurityPolicySchema } from './shell.ts'
import { nameText, seconds } from './text.ts'

/** A JSON Schema or its short form; `operation-schema.ts` reads it. */
const dataSchema = z.record(z.string(), z.unknown())

const operationSchema = z.strictObject({
  name: nameText,
  description: z.string().max(2_000).exactOptional(),
  input_schema: dataSchema
    .prefault({})
    .describe('JSON Schema 2020-12 of input_data, or the short form {amount: number}'),
  output_schema: dataSchema.prefault({}).describe('JSON Schema 2020-12 of output_data, or the short form'),
  timeout: seconds.default(30),
  max_retries: z.int().min(0).max(999).default(3),
  on_worker_lost: z.enum(['retry', 'fail']).exactOptional().describe('what becomes of a job whose worker is lost'),
})

const retrySchema = z
  .strictObject({
    on_status: z.array(z.int().min(400).max(599)).max(200).default([]),
    on_exit_codes: z.array(z.int().min(1).max(255)).max(255).default([]),
    backoff_seconds: z.number().min(0).max(3_600).default(1),
    max_backoff_seconds: z.number().min(0).max(86_400).default(3_600),
  })
  .describe('which of the failures that are final elsewhere are tried again, and when')

const common = {
  name: nameText,
  type: z.string().min(1).max(100),
  category: z.string().min(1).max(100),
  description: z.string().max(2_000).exactOptional(),
  operations: z.array(operationSchema).min(1, 'must list at least one operation').max(1_000),
  retry: retrySchema.exactOptional(),
} as const

/** What every service says, whatever its type. */
export const COMMON_SERVICE_SCHEMA = z.object(common)

/** One schema a type: what `type: http` may say is not what `type: docker` may say. */
export const SERVICE_SCHEMAS = {
  http: z.strictObject({
    ...common,
    execution_type: z.literal('http').default('http'),
    runner_config: httpRunnerConfigSchema.prefault({}),
    security_policy: httpSecurityPolicySchema.prefault({}),
  }),
  shell: z.strictObject({
    ...common,
    execution_type: z.literal('shell'),
    runner_config: shellRunnerConfigSchema.prefault({}),
    security_policy: shellSecurityPolicySchema.prefault({}),
  }),
  docker: z.strictObject({
    ...common,
    execution_type: z.literal('docker'),
    runner_config: dockerRunnerConfigSchema,
    security_policy: dockerSecurityPolicySchema.prefault({}),
  }),
  serverless: z.strictObject({
    ...common,
    execution_type: z.literal('serverless'),
    runner_config: serverlessRunnerConfigSchema,
    security_policy: serverlessSecurityPolicySchema.prefault({}),
  }),
  sandbox: z.strictObject({
    ...common,
    execution_type: z.literal('sandbox'),
    runner_config: sandboxRunnerConfigSchema,
    security_policy: sandboxSecurityPolicySchema.prefault({}),
  }),
} as const

/** The execution types that a registry may name. */
export const REGISTRY_EXECUTION_TYPES = Object.keys(SERVICE_SCHEMAS) as RegistryExecutionType[]
export type RegistryExecutionType = keyof typeof SERVICE_SCHEMAS

export type ServiceOf<Type extends RegistryExecutionType> = z.output<(typeof SERVICE_SCHEMAS)[Type]>
/** A service as it was checked, with every default filled in and its references not yet expanded. */
export type Service = { [Type in RegistryExecutionType]: ServiceOf<Type> }[RegistryExecutionType]
export type Operation = z.output<typeof operationSchema>
