import { limitsSchema } from '@ergon/contract'
import { z } from 'zod'
import { artifactPolicy, commonPolicy, resourceLimitsSchema } from './policy.ts'
import {
  absolutePath,
  checkedText,
  configText,
  environmentMap,
  seconds,
  secretFile,
  variableName,
  vaultReference,
} from './text.ts'

/** `registry/name:tag` or `registry/name@sha256:…`; what the engine would refuse is refused here. */
const imageReference = checkedText(
  (text) =>
    /^([a-z0-9.-]+(:\d{1,5})?\/)?[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$/i.test(
      text,
    ),
  'is not the name of an image: [REGISTRY/]NAME[:TAG][@sha256:DIGEST]',
)
/** An image, with `*` for any run of characters of the tag or of one part of the name. */
const imagePattern = configText.regex(/^[A-Za-z0-9$._/:@{}*-]+$/, 'is not the name of an image, with "*" for any part')

export const dockerRunnerConfigSchema = z.strictObject({
  image: imageReference,
  command: z.union([configText, z.array(configText).max(1_000)]).exactOptional(),
  working_dir: absolutePath.exactOptional(),
  user: checkedText(isOrdinaryUser, 'must be UID or UID:GID in numbers, neither of them 0').default('65534:65534'),
  environment: environmentMap.prefault({}),
  volumes: z
    .array(
      z.strictObject({
        host_path: absolutePath,
        container_path: absolutePath,
        mode: z.enum(['ro', 'rw']).default('ro'),
      }),
    )
    .max(100)
    .default([]),
  network_mode: z.enum(['none', 'bridge', 'host']).default('none'),
  restart_policy: configText.exactOptional().describe('accepted, has no effect'),
  pull_policy: z.enum(['always', 'missing', 'never']).default('missing'),
  registry_auth: z
    .strictObject({
      username_env_var: variableName.exactOptional(),
      username_file: secretFile.exactOptional(),
      username_vault: vaultReference.exactOptional(),
      password_env_var: variableName.exactOptional(),
      password_file: secretFile.exactOptional(),
      password_vault: vaultReference.exactOptional(),
    })
    .exactOptional(),
  timeout: seconds.default(1_800),
})

const dockerLimitsSchema = resourceLimitsSchema.extend({
  max_pids: limitsSchema.shape.max_pids,
  max_artifact_mb: limitsSchema.shape.max_artifact_mb,
})

export const dockerSecurityPolicySchema = z.strictObject({
  ...commonPolicy,
  ...artifactPolicy,
  allowed_images: z.array(imagePattern).max(1_000).exactOptional().describe("by default the service's own image"),
  resource_limits: dockerLimitsSchema.prefault({}),
  volume_restrictions: z
    .strictObject({
      allowed_host_paths: z.array(absolutePath).max(1_000).default([]),
      max_volumes: z.int().min(0).max(100).default(10),
    })
    .prefault({}),
  network_isolation: z.boolean().default(true).describe('false is what network_mode bridge needs'),
})

/** A name would be looked up in the image's own /etc/passwd, where it may be root. */
function isOrdinaryUser(text: string): boolean {
  return /^[1-9]\d{0,8}(:[1-9]\d{0,8})?$/.test(text)
}
