import path from 'node:path'
import { type ArtifactFormat, digestSchema, type JobLimits, jobPayloadSchema, SCHEMA_VERSION } from '@ergon/contract'
import { z } from 'zod'
import { applyPolicy } from '../../domain/limits.ts'
import {
  describePolicyProblems,
  EXECUTOR_POLICY,
  type SandboxPolicy,
  sandboxPolicySchema,
} from '../../domain/sandbox-policy.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { describeIssues } from '../../platform/text/describe-issues.ts'
import { parseLossless } from '../../platform/text/lossless-json.ts'
import { isServiceOf, type ServiceConfig } from '../../registry/create-services.ts'
import type { RunnerJob } from '../runner.ts'
import { type PayloadReading, validationFailure } from './read-payload.ts'

/** Where a sandboxed job's program comes from: its payload, or the registry. */
export type SandboxConfig = { kind: 'payload'; policy: SandboxPolicy } | SandboxProgram

export interface SandboxProgram {
  kind: 'program'
  policy: SandboxPolicy
  /** What the policy states: ceiling and request at once, since callers of a service ask for nothing. */
  limits: JobLimits
  /** Share of the machine in per cent of a core; null for all that the worker gives a sandbox. */
  cpuPercent: number | null
  language: string
  environment: string
  entrypoint: string
  code: string
}

/** Formats that files of a service may have where its policy names none. */
export const DEFAULT_FORMATS: readonly ArtifactFormat[] = ['png', 'svg', 'pdf', 'json']
const MS = 1_000

/** Reads a service's configuration: null or a policy for the built-in service, else what the registry made. */
export function readSandboxConfig(config: unknown): SandboxConfig {
  if (config === null || config === undefined) return { kind: 'payload', policy: EXECUTOR_POLICY }
  if (isServiceOf('sandbox', config)) return readProgram(config)
  const parsed = sandboxPolicySchema.safeParse(config)
  if (parsed.success) return { kind: 'payload', policy: parsed.data }
  throw new ErgonError('CONFIG_INVALID', `the sandbox policy is wrong: ${describePolicyProblems(parsed.error)}`)
}

function readProgram({ service, script }: ServiceConfig<'sandbox'>): SandboxProgram {
  const { runner_config: config, security_policy: security, name } = service
  const code = config.code ?? script
  if (code === null)
    throw new ErgonError('CONFIG_INVALID', `service '${name}' has neither code nor a script that could be read`)
  const { cpu_seconds: cpuSeconds, cpu_cores: cpuCores, ...limits } = security.resource_limits
  const stated: JobLimits = {
    ...limits,
    ...(cpuSeconds === undefined ? {} : { cpu_ms: Math.round(cpuSeconds * MS) }),
    ...(security.max_artifacts === undefined ? {} : { max_artifacts: security.max_artifacts }),
  }
  return {
    kind: 'program',
    policy: {
      limits: { ...EXECUTOR_POLICY.limits, ...stated },
      on_output_limit: security.on_output_limit,
      isolation: security.isolation,
      formats: security.formats ?? [...DEFAULT_FORMATS],
    },
    limits: stated,
    cpuPercent: cpuCores === undefined ? null : Math.round(cpuCores * 100),
    language: config.runtime,
    environment: config.environment,
    entrypoint: entrypointOf(config.script),
    code,
  }
}

/** The script's own name where the sandbox takes it, so that tracebacks show it. */
function entrypointOf(script: string | undefined): string {
  const name = path.basename(script ?? 'main.py')
  return /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(name) ? name : 'main.py'
}

const serviceInputSchema = z.strictObject({
  parameters: z.record(z.string(), z.unknown()).default({}),
  datasets: z
    .array(z.strictObject({ digest: digestSchema, name: z.exactOptional(z.string()) }))
    .max(1_000)
    .default([]),
})

/** The job-contract run of one call of a service: its program and limits, the call's parameters and datasets. */
export function readServiceInput(job: RunnerJob, program: SandboxProgram): PayloadReading {
  const text = job.inputJson ?? '{}'
  // Depth and size are bounded already: every input is checked against its operation before a runner sees it.
  const parsed = serviceInputSchema.safeParse(JSON.parse(text))
  if (!parsed.success) {
    const problems = describeIssues(parsed.error.issues)
    return {
      ok: false,
      failure: validationFailure(
        'INPUT_INVALID',
        `input_data of a sandboxed service is {parameters, datasets}: ${problems}`,
      ),
    }
  }
  const timeoutMs = Math.round(job.timeoutSeconds * MS)
  const asked: JobLimits = { cpu_ms: timeoutMs, ...program.limits, timeout_ms: timeoutMs }
  const ceilings = { ...program.policy.limits, timeout_ms: timeoutMs, cpu_ms: asked.cpu_ms ?? timeoutMs }
  const applied = applyPolicy(asked, { ...program.policy, limits: ceilings })
  if (!applied.ok) return applied
  const payload = jobPayloadSchema.parse({
    schema_version: SCHEMA_VERSION,
    job_id: job.id,
    job_type: 'object_execute',
    environment: { language: program.language, env_version: program.environment },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: program.code },
        dependencies: parsed.data.datasets.map((dataset) => ({ kind: 'dataset', ...dataset })),
        runtime: { language: program.language, entrypoint: program.entrypoint },
      },
    },
    output_spec: { formats: program.policy.formats },
  })
  return { ok: true, read: { payload, limits: applied.limits, parametersJson: readParameters(text) } }
}

/** With every number as the caller wrote it. */
function readParameters(text: string): string {
  const { parameters } = parseLossless(text) as { parameters?: unknown }
  return JSON.stringify(parameters ?? {})
}
