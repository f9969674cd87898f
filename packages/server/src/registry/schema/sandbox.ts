import { z } from 'zod'
import { artifactPolicy, commonPolicy, sandboxLimitsSchema } from './policy.ts'
import { sandboxEnvironment } from './text.ts'

const MAX_CODE = 262_144

/** A path below the registry's folder: links and ".." could name any file of whoever starts the worker. */
const scriptPath = z
  .string()
  .max(1_024)
  .regex(/^(?!\/)[^\u0000-\u001f\\$]+$/, 'must be a path relative to the registry file')
  .refine((text) => !text.split('/').includes('..'), 'must not leave the folder of the registry file')

export const sandboxRunnerConfigSchema = z.strictObject({
  runtime: z.enum(['python']).default('python').describe('the language of the program'),
  environment: sandboxEnvironment.describe('the environment, NAME or NAME@DIGEST'),
  script: scriptPath.exactOptional().describe('the program, a file below the folder of the registry'),
  code: z
    .string()
    .min(1)
    .max(MAX_CODE)
    .exactOptional()
    .describe('the program itself; references are not expanded in it'),
})

export const sandboxSecurityPolicySchema = z.strictObject({
  ...commonPolicy,
  ...artifactPolicy,
  resource_limits: sandboxLimitsSchema.prefault({}),
  isolation: z.enum(['warm', 'fresh']).default('warm').describe('warm allows a prepared sandbox, fresh forbids it'),
  on_output_limit: z.enum(['kill', 'truncate']).default('kill'),
})
