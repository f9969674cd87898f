import { z } from 'zod'
import { commonPolicy, resourceLimitsSchema } from './policy.ts'
import {
  configText,
  environmentMap,
  httpUrl,
  networkRange,
  seconds,
  secretFile,
  variableName,
  vaultReference,
} from './text.ts'

const cloudAuthSchema = z.strictObject({
  type: z
    .enum(['iam_role', 'access_key', 'profile', 'service_account', 'default_credentials', 'none'])
    .default('default_credentials'),
  role_arn: configText.exactOptional(),
  profile: configText.exactOptional(),
  credentials_file: secretFile.exactOptional().describe('the AWS credentials file that holds the profile'),
  sts_endpoint: httpUrl.exactOptional().describe("where roles are assumed, instead of the region's own STS"),
  access_key_id_env_var: variableName.exactOptional(),
  access_key_id_vault: vaultReference.exactOptional(),
  secret_access_key_env_var: variableName.exactOptional(),
  secret_access_key_vault: vaultReference.exactOptional(),
  session_token_env_var: variableName.exactOptional(),
  session_token_vault: vaultReference.exactOptional(),
  service_account_key_env_var: variableName.exactOptional(),
  service_account_key_vault: vaultReference.exactOptional(),
  service_account_key_file: secretFile.exactOptional(),
})

export const serverlessRunnerConfigSchema = z.strictObject({
  provider: z.enum(['aws', 'gcp', 'azure']),
  function_name: configText.min(1),
  region: configText.exactOptional().describe('required for aws; us-central1 for gcp unless it is said'),
  project: configText.exactOptional().describe('gcp'),
  endpoint: httpUrl
    .exactOptional()
    .describe("where the function is called, instead of the provider's own address: a Cloud Run URL, a local server"),
  qualifier: configText.exactOptional().describe('version or alias'),
  runtime: configText.exactOptional().describe('accepted, has no effect'),
  memory_mb: z.int().min(1).max(65_536).exactOptional().describe('only the cost estimate uses it'),
  environment: environmentMap.exactOptional().describe('accepted, has no effect'),
  timeout: seconds.default(900).describe('seconds for the whole call, credentials included'),
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
  allowed_networks: z
    .array(networkRange)
    .max(1_000)
    .default([])
    .describe('private networks that the function and its sign-in may be reached in'),
  resource_limits: resourceLimitsSchema.prefault({}),
  cost_limits: z
    .strictObject({
      max_invocations_per_hour: z.int().min(0).max(100_000_000).exactOptional(),
      max_cost_per_hour: z.number().min(0).max(1_000_000).exactOptional().describe('US dollars'),
    })
    .prefault({}),
})
