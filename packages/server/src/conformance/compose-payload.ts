import { type Isolation, SCHEMA_VERSION } from '@ergon/contract'

/** What a payload may differ in from the plainest one; `datasets` becomes the object's dependencies. */
export type PayloadChange = Record<string, unknown> & { datasets?: unknown[] }

/** A payload that runs a Python program, as an application would write it; nothing is checked, since hostile ones are wrong. */
export function composePayload(
  jobId: string,
  program: string,
  isolation: Isolation,
  change: PayloadChange,
): Record<string, unknown> {
  const { datasets = [], ...rest } = change
  return {
    schema_version: SCHEMA_VERSION,
    job_id: jobId,
    job_type: 'object_execute',
    environment: { language: 'python', env_version: 'python-sci', isolation },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: program },
        dependencies: datasets,
        runtime: { language: 'python' },
      },
    },
    ...rest,
  }
}
