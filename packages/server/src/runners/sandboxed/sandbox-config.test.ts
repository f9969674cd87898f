import { describe, expect, it } from 'vitest'
import { createServices } from '../../registry/create-services.ts'
import { readSandboxConfig, readServiceInput, type SandboxProgram } from './sandbox-config.ts'

function programOf(policy: string): SandboxProgram {
  const text = `services:
  - name: fit
    type: t
    category: c
    execution_type: sandbox
    operations: [{name: line}]
    runner_config: {environment: python-sci, script: programs/fit.py}
    security_policy: ${policy}
`
  const bundle = {
    file: 'r.yaml',
    text,
    profile: 'production',
    variables: {},
    secretFiles: {},
    scripts: { 'programs/fit.py': 'pass' },
  } as const
  const services = createServices(bundle, { executionTypes: ['sandbox'], checkConfig: () => {} })
  const config = readSandboxConfig(services.resolve('fit', 'line').runnerConfig)
  if (config.kind !== 'program') throw new Error('a service of a registry has a program')
  return config
}

function read(policy: string, inputJson: string | null, timeoutSeconds = 20) {
  const job = {
    id: '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10',
    serviceName: 'fit',
    operation: 'line',
    inputJson,
    timeoutSeconds,
    attempt: 1,
    maxAttempts: 1,
  }
  return readServiceInput(job, programOf(policy))
}

describe('a sandboxed service', () => {
  it('gets its program from the registry, and parameters and datasets from the call', () => {
    const digest = `sha256:${'a'.repeat(64)}`
    const reading = read(
      '{}',
      `{"parameters": {"n": 12345678901234567890, "x": 1.0}, "datasets": [{"name": "a.csv", "digest": "${digest}"}]}`,
    )
    expect(reading).toMatchObject({
      ok: true,
      read: {
        parametersJson: '{"n":12345678901234567890,"x":1.0}',
        payload: {
          environment: { language: 'python', env_version: 'python-sci' },
          inputs: {
            object: {
              content: { value: 'pass' },
              dependencies: [{ kind: 'dataset', name: 'a.csv', digest }],
              runtime: { entrypoint: 'fit.py' },
            },
          },
          output_spec: { formats: ['png', 'svg', 'pdf', 'json'] },
        },
      },
    })
  })

  it.each([
    ['{}', { timeout_ms: 20_000, cpu_ms: 20_000, memory_mb: 512, disk_mb: 256, max_artifacts: 50, max_output_kb: 256 }],
    [
      '{resource_limits: {memory_mb: 64, cpu_seconds: 1.5, max_output_kb: 1, disk_mb: 3, max_pids: 7}, max_artifacts: 2}',
      { timeout_ms: 20_000, cpu_ms: 1_500, memory_mb: 64, max_output_kb: 1, disk_mb: 3, max_pids: 7, max_artifacts: 2 },
    ],
    // Above what the built-in service allows: it is the registry that decides.
    ['{resource_limits: {memory_mb: 16384, cpu_seconds: 7200}}', { memory_mb: 16_384, cpu_ms: 7_200_000 }],
  ])('with the policy %s runs under %j', (policy, limits) => {
    expect(read(policy, null)).toMatchObject({ ok: true, read: { limits } })
  })

  it('has the share of the machine that its policy names', () => {
    expect(programOf('{resource_limits: {cpu_cores: 0.25}}').cpuPercent).toBe(25)
    expect(programOf('{}').cpuPercent).toBeNull()
  })

  it('has the isolation, output rule and formats of its policy', () => {
    expect(programOf('{isolation: fresh, on_output_limit: truncate, formats: [csv]}').policy).toMatchObject({
      isolation: 'fresh',
      on_output_limit: 'truncate',
      formats: ['csv'],
    })
  })

  it.each(['{"code": "import os"}', '{"parameters": []}', '{"datasets": [{"digest": "x"}]}', '[]', '"x"'])(
    'takes nothing else from its input: %s',
    (inputJson) => {
      expect(read('{}', inputJson)).toMatchObject({
        ok: false,
        failure: { category: 'VALIDATION_ERROR', code: 'INPUT_INVALID' },
      })
    },
  )
})
