import { createHash } from 'node:crypto'
import type { JobPayload } from '@ergon/contract'
import type { EffectiveLimits } from './limits.ts'

/** What decides a job's outcome, apart from chance and time. */
export interface ExecutionInputs {
  payload: JobPayload
  /** The bytes of parameters.json, whose numbers no parser of ours has touched. */
  parametersJson: string
  envVersion: string
  limits: EffectiveLimits
}

/** `sha256:<hex>` over all that decides a job's outcome, as the job contract lists it: equal keys, equal outcomes. */
export function deriveExecutionKey({ payload, parametersJson, envVersion, limits }: ExecutionInputs): string {
  const { content, dependencies, runtime } = payload.inputs.object
  return sha256(
    canonicalJson({
      job_type: payload.job_type,
      document_revision_id: payload.document_revision_id ?? null,
      object_id: payload.target?.object_id ?? null,
      content: { format: content.format, digest: sha256(content.value) },
      dependencies: dependencies.map((dependency) => ({ ...dependency })),
      snapshots: payload.inputs.dependency_snapshots.map(({ kind, id, content_digest }) => ({
        kind,
        id: id ?? null,
        content_digest: content_digest ?? null,
      })),
      parameters: sha256(parametersJson),
      runtime: { language: runtime.language, entrypoint: runtime.entrypoint ?? null },
      env_version: envVersion,
      limits: { ...limits },
    }),
  )
}

/** 64 hexadecimal digits for a job's random numbers; null when it asked for the operating system's entropy. */
export function deriveSeed(inputs: ExecutionInputs): string | null {
  if (inputs.payload.environment.seed === 'entropy') return null
  const key = inputs.payload.execution_key ?? deriveExecutionKey(inputs)
  return sha256(`seed of ${key}`).slice('sha256:'.length)
}

type Canonical = string | number | null | readonly Canonical[] | { readonly [name: string]: Canonical }

/** RFC 8785 for what a key is made of: text, integers below 2^53, null, lists and objects. */
function canonicalJson(value: Canonical): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const members = Object.entries(value as { [name: string]: Canonical })
  members.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${canonicalJson(member)}`).join(',')}}`
}

function sha256(text: string): string {
  return `sha256:${createHash('sha256').update(text).digest('hex')}`
}
