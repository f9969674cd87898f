import { z } from 'zod'
import { artifactPolicy, commonPolicy, resourceLimitsSchema } from './policy.ts'
import { absolutePath, environmentMap, networkRange, sandboxEnvironment, seconds } from './text.ts'

export const shellRunnerConfigSchema = z.strictObject({
  working_directory: absolutePath.exactOptional(),
  environment: environmentMap.prefault({}),
  shell: absolutePath.default('/bin/bash').describe('runs scripts, where allowed_commands has it'),
  sandbox_environment: sandboxEnvironment
    .default('python-sci')
    .describe('the environment whose programs may be run, NAME or NAME@DIGEST'),
  timeout: seconds.default(600),
})

export const shellSecurityPolicySchema = z.strictObject({
  ...commonPolicy,
  ...artifactPolicy,
  allowed_commands: z.array(absolutePath).max(1_000).default([]).describe('absolute paths; nothing else is started'),
  resource_limits: resourceLimitsSchema.prefault({}),
  working_directory_restrictions: z.array(absolutePath).max(1_000).default([]),
  network_access: z.enum(['none', 'localhost', 'all']).default('none'),
  allowed_networks: z.array(networkRange).max(1_000).default([]),
  file_access: z.enum(['none', 'read', 'read_write']).default('none'),
})
