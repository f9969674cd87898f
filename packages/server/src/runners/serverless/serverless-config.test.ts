import { describe, expect, it } from 'vitest'
import { createServices } from '../../registry/create-services.ts'
import { readServerlessConfig } from './serverless-config.ts'

function read(runnerConfig: string, variables: Record<string, string>, policy = '{}') {
  const text = `services:
  - name: f
    type: function
    category: tests
    execution_type: serverless
    operations: [{name: run}]
    runner_config: ${runnerConfig}
    security_policy: ${policy}
`
  const bundle = { file: 'r.yaml', text, profile: 'development', variables, secretFiles: {}, scripts: {} } as const
  const services = createServices(bundle, { executionTypes: ['serverless'], checkConfig: () => {} })
  return readServerlessConfig(services.resolve('f', 'run').runnerConfig)
}

const lambda = (change: string) => `{provider: aws, ${change}}`

describe('a service as it is once its references are expanded', () => {
  it.each([
    [
      lambda('region: eu-central-1, function_name: "${X}"'),
      '../../2015-03-31/functions',
      'function_name: is not what aws',
    ],
    [lambda('region: "${X}", function_name: f'), 'evil.example/#', 'region: is not what aws calls a region'],
    [lambda('region: "${X}", function_name: f'), 'us-east-1', 'is not among security_policy.allowed_regions'],
    [
      lambda('region: eu-central-1, function_name: f, endpoint: "${X}"'),
      'http://169.254.169.254',
      'is a private address',
    ],
    [lambda('region: eu-central-1, function_name: f, endpoint: "${X}"'), 'http://0x7f.1:80/', 'is a private address'],
    [
      lambda('region: eu-central-1, function_name: f, endpoint: "${X}"'),
      'http://evil.example',
      'must begin with https://',
    ],
    [
      lambda('region: eu-central-1, function_name: f, auth: {type: iam_role, role_arn: "${X}"}'),
      'arn:aws:iam::1:user/x',
      'must be arn:aws:iam::ACCOUNT:role/NAME',
    ],
  ])('%s with %s is refused, and the value is not repeated', (config, value, problem) => {
    const policy = '{allowed_regions: [eu-central-1]}'
    expect(() => read(config, { X: value }, policy)).toThrow(problem)
    expect(() => read(config, { X: value }, policy)).not.toThrow(value)
  })

  it('has the time, the memory and the answer that its policy and provider allow', () => {
    const config = lambda('region: "${X}", function_name: f, memory_mb: 512, timeout: 0.5')
    expect(read(config, { X: 'eu-central-1' }, '{resource_limits: {max_output_kb: 4}}')).toMatchObject({
      timeoutMs: 500,
      memoryMb: 512,
      maxResponseBytes: 4_096,
    })
    expect(read(lambda('region: eu-central-1, function_name: f'), {})).toMatchObject({
      memoryMb: 128,
      maxResponseBytes: 6 * 1_024 * 1_024,
    })
  })

  it('is of this type', () => {
    for (const config of [null, {}, { service: { execution_type: 'http' } }])
      expect(() => readServerlessConfig(config)).toThrow('this is no service of type serverless')
  })
})
