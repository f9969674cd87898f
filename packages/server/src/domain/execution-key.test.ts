import { DEFAULT_JOB_LIMITS, type JobPayloadInput, jobPayloadSchema } from '@ergon/contract'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { deriveExecutionKey, deriveSeed, type ExecutionInputs } from './execution-key.ts'

const written: JobPayloadInput = {
  schema_version: '1.0',
  job_id: '00000000-0000-4000-8000-000000000001',
  job_type: 'object_execute',
  environment: { language: 'python', env_version: 'python-sci' },
  inputs: {
    object: {
      type: 'code',
      content: { format: 'text', value: 'print(1)' },
      dependencies: [{ kind: 'dataset', digest: `sha256:${'a'.repeat(64)}`, name: 'a.csv' }],
      runtime: { language: 'python' },
    },
  },
}

function inputs(change: Partial<JobPayloadInput> = {}, rest: Partial<ExecutionInputs> = {}): ExecutionInputs {
  return {
    payload: jobPayloadSchema.parse({ ...written, ...change }),
    parametersJson: '{"a":1}',
    envVersion: `python-sci@${'b'.repeat(64)}`,
    limits: DEFAULT_JOB_LIMITS,
    ...rest,
  }
}

describe('deriveExecutionKey', () => {
  const key = deriveExecutionKey(inputs())

  it('is a digest that neither the job nor its traceability changes', () => {
    expect(key).toMatch(/^sha256:[0-9a-f]{64}$/)
    const other = { job_id: '00000000-0000-4000-8000-000000000002', priority: 'high', project_id: 'p' } as const
    expect(deriveExecutionKey(inputs(other))).toBe(key)
  })

  const object = written.inputs.object
  it.each<[string, ExecutionInputs]>([
    ['the code', inputs({ inputs: { object: { ...object, content: { format: 'text', value: 'print(2)' } } } })],
    ['a dataset', inputs({ inputs: { object: { ...object, dependencies: [] } } })],
    ['the revision', inputs({ document_revision_id: 'r2' })],
    ['the target', inputs({ target: { object_id: 'o' } })],
    ['the parameters, to the digit', inputs({}, { parametersJson: '{"a":1.0}' })],
    ['the environment', inputs({}, { envVersion: `python-sci@${'c'.repeat(64)}` })],
    ['a limit', inputs({}, { limits: { ...DEFAULT_JOB_LIMITS, memory_mb: 64 } })],
  ])('depends on %s', (_, changed) => {
    expect(deriveExecutionKey(changed)).not.toBe(key)
  })
})

describe('deriveSeed', () => {
  it('follows the key that the platform gave, and is none for entropy', () => {
    expect(deriveSeed(inputs())).toBe(deriveSeed(inputs({ project_id: 'p' })))
    expect(deriveSeed(inputs({ execution_key: 'k' }))).not.toBe(deriveSeed(inputs()))
    expect(deriveSeed(inputs({ environment: { ...written.environment, seed: 'entropy' } }))).toBeNull()
  })

  it('is 64 hexadecimal digits whatever the key', () => {
    fc.assert(
      fc.property(fc.string(), (execution_key) => {
        expect(deriveSeed(inputs({ execution_key }))).toMatch(/^[0-9a-f]{64}$/)
      }),
    )
  })
})
