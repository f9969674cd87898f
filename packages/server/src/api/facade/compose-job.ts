import { randomUUID } from 'node:crypto'
import { ARTIFACT_FORMATS, type JobLimits, type JobPayload, jobPayloadSchema, SCHEMA_VERSION } from '@ergon/contract'

export const FACADE_ENVIRONMENT = 'python-sci'

/** More than the first twenty files are not shown, and not a failure either. */
const ALWAYS = { max_artifacts: 200 } as const satisfies JobLimits

/** What code of callers without a token may have: less than any job, since nobody answers for them. */
const WITHOUT_TOKEN = {
  memory_mb: 256,
  max_output_kb: 256,
  max_artifact_mb: 32,
  max_file_mb: 64,
  disk_mb: 64,
  max_pids: 32,
  max_result_kb: 64,
} as const satisfies JobLimits

export interface Program {
  code: string
  timeoutSeconds: number
  hasToken: boolean
}

/** The job of one call: a payload of the job contract, as any platform would send it. */
export function composeJob({ code, timeoutSeconds, hasToken }: Program, ceilings: Required<JobLimits>): JobPayload {
  const timeoutMs = timeoutSeconds * 1_000
  const asked: JobLimits = {
    ...ALWAYS,
    ...(hasToken ? {} : WITHOUT_TOKEN),
    timeout_ms: timeoutMs,
    cpu_ms: timeoutMs,
  }
  return jobPayloadSchema.parse({
    schema_version: SCHEMA_VERSION,
    job_id: randomUUID(),
    job_type: 'object_execute',
    created_at: new Date().toISOString(),
    limits: lowerTo(asked, ceilings),
    environment: { language: 'python', env_version: FACADE_ENVIRONMENT },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: code },
        runtime: { language: 'python', entrypoint: 'main.py' },
      },
    },
    output_spec: { formats: Object.keys(ARTIFACT_FORMATS) },
  })
}

/** A service with lower ceilings refuses who asks for more: nobody asked for these. */
function lowerTo(asked: JobLimits, ceilings: Required<JobLimits>): JobLimits {
  const names = Object.keys(asked) as (keyof JobLimits)[]
  return Object.fromEntries(names.map((name) => [name, Math.min(asked[name] ?? Infinity, ceilings[name])]))
}
