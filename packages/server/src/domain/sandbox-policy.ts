import { ARTIFACT_FORMATS, type ArtifactFormat, type JobLimits, limitsSchema } from '@ergon/contract'
import { z } from 'zod'

/** The most that a job of the built-in `executor` service may ask for. */
const EXECUTOR_CEILINGS: Required<JobLimits> = {
  timeout_ms: 3_600_000,
  cpu_ms: 3_600_000,
  memory_mb: 8_192,
  max_output_kb: 4_096,
  max_artifacts: 200,
  max_artifact_mb: 512,
  max_result_kb: 1_024,
  max_pids: 256,
  max_open_files: 1_024,
  max_file_mb: 1_024,
  disk_mb: 1_024,
  max_files: 65_536,
}

const formats = Object.keys(ARTIFACT_FORMATS) as ArtifactFormat[]

/** A policy as somebody writes it: what is not said is as for the built-in service; an unknown key is an error. */
export const sandboxPolicySchema = z.strictObject({
  /** Ceilings, by the names a job uses. */
  limits: z
    .strictObject(limitsSchema.shape)
    .prefault({})
    .transform((stated): Required<JobLimits> => ({ ...EXECUTOR_CEILINGS, ...stated })),
  /** Whether a job that writes too much is killed, or runs on while the rest of its output is counted and dropped. */
  on_output_limit: z.enum(['kill', 'truncate']).default('kill'),
  /** `fresh`: every job must get a container of its own; `warm`: the job chooses. */
  isolation: z.enum(['warm', 'fresh']).default('warm'),
  /** Formats that files may leave in; a job can only narrow them. */
  formats: z.array(z.enum(formats)).default(formats),
})
/** What a service lets its sandboxed jobs have and do. */
export type SandboxPolicy = z.infer<typeof sandboxPolicySchema>

/** The policy of the built-in `executor` service where nobody configured another. */
export const EXECUTOR_POLICY: SandboxPolicy = sandboxPolicySchema.parse({})

/** A policy from JSON text, or what is wrong with it, field by field. */
export function parseSandboxPolicy(text: string): { ok: true; policy: SandboxPolicy } | { ok: false; problem: string } {
  let raw: unknown
  try {
    raw = JSON.parse(text)
  } catch {
    return { ok: false, problem: 'expected a JSON object such as {"limits":{"memory_mb":1024}}' }
  }
  const parsed = sandboxPolicySchema.safeParse(raw)
  return parsed.success
    ? { ok: true, policy: parsed.data }
    : { ok: false, problem: describePolicyProblems(parsed.error) }
}

export function describePolicyProblems({ issues }: z.ZodError): string {
  return issues
    .slice(0, 5)
    .map(({ path, message }) => `${path.join('.') || 'policy'}: ${message}`)
    .join('; ')
}
