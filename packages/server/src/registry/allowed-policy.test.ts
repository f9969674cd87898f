import { describe, expect, it } from 'vitest'
import { describeAllowed } from './allowed-policy.ts'
import { SERVICE_SCHEMAS } from './schema/service.ts'
import { SecretSource } from './secret-source.ts'

const secrets = new SecretSource({ variables: {}, secretFiles: {} })
const common = { name: 's', type: 't', category: 'c', operations: [{ name: 'o' }] }

function exceptionsOf(type: keyof typeof SERVICE_SCHEMAS, config: object, policy: object): readonly string[] {
  const service = SERVICE_SCHEMAS[type].parse({
    ...common,
    execution_type: type,
    runner_config: config,
    security_policy: policy,
  })
  return describeAllowed({ service, secrets, script: null }).exceptions
}

describe('describeAllowed', () => {
  it.each([
    ['http', {}, {}, []],
    ['http', {}, { allowed_networks: ['10.0.0.0/8'] }, ['network 10.0.0.0/8']],
    ['shell', {}, { network_access: 'localhost', file_access: 'read' }, []],
    [
      'shell',
      {},
      { network_access: 'all', file_access: 'read_write' },
      ['network_access all', 'file_access read_write'],
    ],
    ['docker', { image: 'a:1' }, {}, []],
    ['docker', { image: 'a:1', volumes: [{ host_path: '/in', container_path: '/in' }] }, {}, []],
    [
      'docker',
      { image: 'a:1', network_mode: 'bridge', volumes: [{ host_path: '/out', container_path: '/out', mode: 'rw' }] },
      { network_isolation: false },
      ['network_mode bridge', 'writable /out'],
    ],
    ['serverless', { provider: 'aws', function_name: 'f' }, {}, []],
    ['sandbox', { environment: 'e', code: 'pass' }, {}, []],
  ] as const)('%s %j %j', (type, config, policy, exceptions) => {
    expect(exceptionsOf(type, config, policy)).toEqual(exceptions)
  })

  it("has a script's text in the digest, and says the limits that are enforced", () => {
    const service = SERVICE_SCHEMAS.sandbox.parse({
      ...common,
      execution_type: 'sandbox',
      runner_config: { environment: 'e', script: 'a.py' },
      security_policy: { resource_limits: { memory_mb: 64 } },
    })
    const [first, second] = ['1', '2'].map((script) => describeAllowed({ service, secrets, script }))
    expect(first?.policyDigest).not.toBe(second?.policyDigest)
    expect(first?.terms).toMatchObject({ limits: { memory_mb: 64 }, isolation: 'warm' })
  })
})
