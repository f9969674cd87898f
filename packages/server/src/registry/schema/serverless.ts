import { z } from 'zod'
import { commonPolicy, resourceLimitsSchema } from './policy.ts'
import { configText, environmentMap, seconds, secretFile, variableName } from './text.ts'

const cloudAuthSchema = z.strictObject({
  type: z
    .enum(['iam_role', 'access_key', 'profile', 'service_account', 'default_credentials'])
    .default('default_credentials'),
  role_arn: configText.exactOptional(),
  profile: configText.exactOptional(),
  access_key_id_env_var: variableName.exactOptional(),
  secret_access_key_env_var: variableName.exactOptional(),
  session_token_env_var: variableName.exactOptional(),
  service_account_key_env_var: variableName.exactOptional(),
  service_account_key_file: secretFile.exactOptional(),
})

export const serverlessRunnerConfigSchema = z.strictObject({
  provider: z.enum(['aws', 'gcp', 'azure']),
  function_name: configText.min(1),
  region: configText.exactOptional().describe('aws'),
  project: configText.exactOptional().describe('gcp'),
  qualifier: configText.exactOptional().describe('version or alias'),
  runtime: configText.exactOptional().describe('accepted, has no effect'),
  memory_mb: z.int().min(1).max(65_536).exactOptional().describe('accepted, has no effect'),
  environment: environmentMap.exactOptional().describe('accepted, has no effect'),
  timeout: seconds.default(900),
  auth: cloudAuthSchema.exactOptional().describe('another name of auth_config'),
  auth_config: cloudAuthSchema.exactOptional(),
})

export const serverlessSecurityPolicySchema = z.strictObject({
  ...commonPolicy,
  allowed_providers: z
    .array(z.enum(['aws', 'gcp', 'azure']))
    .max(3)
    .exactOptional(),
  allowed_regions: z.array(configText).max(200).exactOptional(),
  resource_limits: resourceLimitsSchema.prefault({}),
  cost_limits: z
    .strictObject({
      max_invocations_per_hour: z.int().min(0).max(100_000_000).exactOptional(),
      max_cost_per_hour: z.number().min(0).max(1_000_000).exactOptional().describe('US dollars'),
    })
    .prefault({}),
})
