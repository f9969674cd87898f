import { z } from 'zod'
import { commonPolicy } from './policy.ts'
import {
  domainPattern,
  headerMap,
  httpUrl,
  networkRange,
  seconds,
  secretFile,
  variableName,
  vaultReference,
} from './text.ts'

/** Where the secrets of a service are: a variable, a file or a name in a store each, never the secret. */
const authConfigSchema = z.strictObject({
  token_env_var: variableName.exactOptional(),
  token_file: secretFile.exactOptional(),
  token_vault: vaultReference.exactOptional(),
  username_env_var: variableName.exactOptional(),
  username_file: secretFile.exactOptional(),
  username_vault: vaultReference.exactOptional(),
  password_env_var: variableName.exactOptional(),
  password_file: secretFile.exactOptional(),
  password_vault: vaultReference.exactOptional(),
  api_key_env_var: variableName.exactOptional(),
  api_key_file: secretFile.exactOptional(),
  api_key_vault: vaultReference.exactOptional(),
  header_name: z
    .string()
    .regex(/^[A-Za-z0-9-]{1,100}$/, 'must be the name of an HTTP header')
    .exactOptional()
    .describe('the header that carries the API key'),
})

export const httpRunnerConfigSchema = z.strictObject({
  base_url: httpUrl.exactOptional().describe('a service without it loads with a warning, and its jobs fail'),
  auth_type: z.enum(['bearer', 'basic', 'api_key', 'none']).default('none'),
  auth_config: authConfigSchema.prefault({}),
  headers: headerMap.prefault({}),
  timeout: seconds.default(300).describe('seconds for the whole request, retries included'),
  connect_timeout: seconds.exactOptional(),
  headers_timeout: seconds.exactOptional(),
  body_timeout: seconds.exactOptional(),
  retry_config: z
    .strictObject({
      max_retries: z.int().min(0).max(20).default(3),
      backoff_factor: z.number().min(0).max(60).default(0.3),
      retry_status_codes: z.array(z.int().min(400).max(599)).max(200).default([429, 500, 502, 503, 504]),
    })
    .exactOptional(),
})

export const httpSecurityPolicySchema = z.strictObject({
  ...commonPolicy,
  allowed_domains: z.array(domainPattern).max(1_000).exactOptional().describe("by default base_url's own host"),
  allowed_networks: z
    .array(networkRange)
    .max(1_000)
    .default([])
    .describe('private networks that the service may reach; every use is audited'),
  max_request_size: z.int().min(0).max(1_073_741_824).exactOptional().describe('bytes'),
  max_response_size: z.int().min(0).max(1_073_741_824).exactOptional().describe('bytes'),
})
