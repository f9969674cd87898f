import { readFileSync } from 'node:fs'
import path from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NOT_ENFORCED_YET } from './field-support.ts'
import { parseRegistry, REGISTRY_PROFILES } from './parse-registry.ts'
import { VALID_REGISTRY } from './registry.fixture.ts'
import { faultText } from './registry-fault.ts'

const faultsOf = (text: string): string[] => parseRegistry(text, 'r.yaml').faults.map(faultText)
const warningsOf = (text: string): string[] => parseRegistry(text, 'r.yaml').warnings.map(faultText)

/** The valid registry with one text in the place of another. */
/** What each type's runner_config must say at the least. */
const SMALLEST_CONFIGS = {
  http: '{base_url: "https://example.org"}',
  shell: '{}',
  docker: '{image: example}',
  serverless: '{provider: aws, function_name: f, region: eu-central-1}',
  sandbox: '{environment: e, code: f}',
}

function changed(before: string, after: string): string {
  if (!VALID_REGISTRY.includes(before)) throw new Error(`the fixture has no ${before}`)
  return VALID_REGISTRY.replace(before, after)
}

describe('parseRegistry', () => {
  it('reads a valid registry, by names in lower case, with the defaults of the contract', () => {
    const { profiles, faults, warnings } = parseRegistry(VALID_REGISTRY, 'r.yaml')
    expect([faults, warnings]).toEqual([[], []])
    expect([...profiles.production.keys()]).toEqual(['stripe', 'report', 'convert', 'resize', 'fit'])
    const timeouts = [...profiles.production.values()].map(({ service }) => [
      service.execution_type,
      service.operations[0]?.timeout,
      service.operations[0]?.max_retries,
      'timeout' in service.runner_config ? service.runner_config.timeout : null,
    ])
    expect(timeouts).toEqual([
      ['http', 30, 1, 300],
      ['shell', 30, 3, 600],
      ['docker', 30, 3, 1800],
      ['serverless', 30, 3, 900],
      ['sandbox', 20, 3, null],
    ])
    expect(profiles.production.get('convert')?.service.runner_config).toMatchObject({ network_mode: 'none' })
    expect(profiles.production.get('report')?.service.runner_config).toMatchObject({ shell: '/bin/bash' })
  })

  it('reads the example', () => {
    const file = path.join(import.meta.dirname, '../../../../examples/registry/registry.yaml')
    expect(parseRegistry(readFileSync(file, 'utf8'), file).faults).toEqual([])
  })

  it.each([
    ['type: payment', 'typ: payment', "r.yaml:2:5: services.0: Service missing required field 'type'"],
    ['type: payment', 'typ: payment', 'r.yaml:3:5: services.0.typ: unknown field "typ"; did you mean "type"?'],
    ['- name: Stripe\n    type', '- type', "Service missing required field 'name'"],
    ['category: financial', 'category: 5', 'r.yaml:4:15: services.0.category: must be text (found 5)'],
    ['name: Stripe', 'name: "a\'; drop table"', 'services.0.name: must be 1 to 100 letters'],
    ['name: Stripe', 'name: FIT', "service 'fit' stands here a second time"],
    ['name: Stripe', 'name: Executor', "the name 'executor' is taken by a built-in service"],
    [
      'execution_type: shell',
      'execution_type: quantum',
      "Invalid execution_type 'quantum' for service report. Valid types: [http, shell, docker, serverless, sandbox]",
    ],
    ['- name: create_charge', '- nam: create_charge', "Operation missing required field 'name'"],
    ['max_retries: 1', 'max_retries: -1', 'services.0.operations.0.max_retries: must be at least 0 (found -1)'],
    ['max_retries: 1', 'max_retries: 1.5', 'must be a whole number (found 1.5)'],
    [
      'operations: [{name: build',
      'operations: [{name: BUILD}, {name: build',
      "operation 'build' stands here a second time",
    ],
    ['{amount: number}', '{amount: numbr}', 'services.0.operations.0.input_schema.amount: is neither a JSON Schema'],
    ['https://api.stripe.com/v1', 'ftp://api.stripe.com', 'must be a URL that begins with https://'],
    [
      'https://api.stripe.com/v1',
      'http://2130706433/',
      '127.0.0.1 is a private address; if that is meant, add to security_policy: allowed_networks: ["127.0.0.1/32"]',
    ],
    ['https://api.stripe.com/v1', 'http://[::ffff:10.0.0.1]/', 'is a private address'],
    ['https://api.stripe.com/v1', 'http://LOCALHOST:3000', 'is a private address'],
    ['https://api.stripe.com/v1', 'https://other.example.org', 'host other.example.org is not among them'],
    ['auth_type: bearer', 'auth_type: basic', 'auth_type basic needs username_env_var or username_file'],
    [
      'auth_type: bearer',
      'auth_type: basic',
      'services.0.runner_config.auth_config.token_env_var: has no effect with auth_type basic',
    ],
    ['token_env_var: STRIPE_TOKEN', 'token: abc', 'unknown field "token"'],
    ['"${ACCOUNT}"', '"${ACCOUNT:-1}"', 'is no reference'],
    ['/usr/bin/report', 'report', 'must be an absolute path'],
    ['/usr/bin/report', '/usr/bin/../bin/sh', 'must be an absolute path'],
    ['image: example', 'network_mode: host\n      image: example', 'host is refused'],
    ['image: example', 'network_mode: bridge\n      image: example', 'network_isolation: false'],
    ['image: example.org/convert@', 'image: example.org/Con vert@', 'is not the name of an image'],
    ['/srv/media/in', '/srv/mediaevil', 'is below none of'],
    ['/srv/media/in', '/srv/media/../../etc', 'must be an absolute path without ".."'],
    [
      'volume_restrictions: {',
      'allowed_images: ["example.org/*:1"]\n      volume_restrictions: {',
      'is not among security_policy.allowed_images',
    ],
    [
      '    security_policy: {allowed_domains',
      '    retry: {on_exit_codes: [1]}\n    security_policy: {allowed_domains',
      'services.0.retry.on_exit_codes: has no effect with execution_type http',
    ],
    [
      '    security_policy: {allowed_domains',
      '    retry: {backoff_seconds: 9, max_backoff_seconds: 3}\n    security_policy: {allowed_domains',
      'services.0.retry.backoff_seconds: is 9, above max_backoff_seconds 3',
    ],
    ['provider: aws', 'provider: azure', 'azure is not supported yet'],
    ['region: eu-central-1}', 'project: x}', "runner_config missing required field 'region' (provider aws)"],
    ['region: eu-central-1}', 'region: us-east-1}', 'is not among security_policy.allowed_regions'],
    ['environment: python-sci', 'script: ../x.py, environment: python-sci', 'must not leave the folder'],
    ['environment: python-sci', 'script: x.py, environment: python-sci', 'and only one of them'],
    ['environment: python-sci', 'runtime: cobol, environment: python-sci', 'must be one of: python'],
    ['services:', 'service: []\nservices:', 'unknown field "service"; did you mean "services"?'],
    [
      'services:',
      'production: {service: []}\nservices:',
      'production.service: unknown field "service"; did you mean "services"?',
    ],
  ])('%j changed to %j is told as %j', (before, after, fault) => {
    expect(faultsOf(changed(before, after)).join('\n')).toContain(fault)
  })

  it('tells all faults at once, in the order of the file', () => {
    const text = changed('type: payment', 'typ: payment')
      .replace('max_retries: 1', 'max_retries: x')
      .replace('image:', 'imag:')
    const lines = parseRegistry(text, 'r.yaml').faults.map(({ line }) => line)
    expect(lines).toHaveLength(5)
    expect(lines).toEqual(lines.toSorted((a, b) => a - b))
  })

  it('shows hostile keys and values without obeying them', () => {
    const [fault] = faultsOf(changed('type: payment', 'type: payment\n    "\\e[31mred\\n\u202e": "x"'))
    expect(fault).toContain('unknown field "␛[31mred\uFFFD\uFFFD"')
  })

  it('never repeats a value that may be a secret', () => {
    const secrets = changed('token_env_var: STRIPE_TOKEN', 'token_env_var: "s3cr3t value"').replace(
      'X-Account: "${ACCOUNT}"',
      'X-Account: "s3cr3t\\nvalue"',
    )
    expect(faultsOf(changed('token_env_var: STRIPE_TOKEN', 'token_vault: "s3cr3t:value"'))).toEqual([
      expect.stringMatching(/token_vault: must be PROVIDER:NAME with one of the providers exec, vault$/),
    ])
    expect(faultsOf(secrets)).toHaveLength(2)
    expect(faultsOf(secrets).join()).not.toContain('s3cr3t')
  })

  it.each(['', '# nothing', 'services:', 'services: []', 'production: {services: []}'])(
    '%j is an empty registry',
    (text) => {
      expect(() => parseRegistry(text, 'r.yaml')).toThrow('Service registry is empty')
    },
  )

  it.each(['42', '- a', 'services: 3', 'services: [3]'])('%j is no registry', (text) => {
    expect(faultsOf(text)).toHaveLength(1)
  })

  it('warns of what has no effect, and of a legacy service without base_url', () => {
    expect(warningsOf(changed('image: example', 'restart_policy: always\n      image: example'))).toEqual([
      expect.stringContaining('has no effect'),
    ])
    const legacy = 'services: [{name: a, type: b, category: c, operations: [{name: d}]}]'
    expect(warningsOf(legacy)).toEqual([
      expect.stringContaining("service 'a' has no base_url: its jobs fail as VALIDATION_ERROR"),
    ])
  })

  it('takes a key with nothing behind it for absent', () => {
    expect(
      faultsOf(
        changed('    security_policy: {allowed_domains', '    description:\n    security_policy: {allowed_domains'),
      ),
    ).toEqual([])
  })

  it.each(
    Object.entries(NOT_ENFORCED_YET).flatMap(([type, fields]) => (fields ?? []).map((field) => [type, field] as const)),
  )('a service of type %s that says %s is refused by the name of the field', (type, field) => {
    const value = field.includes('.') ? '1' : '{}'
    const keys = field.split('.')
    const nested = keys.map((key, depth) => `${'  '.repeat(depth)}${key}:`).join('\n    ')
    const config = SMALLEST_CONFIGS[type as keyof typeof SMALLEST_CONFIGS]
    const text = `services:\n  - name: a\n    type: b\n    category: c\n    execution_type: ${type}\n    operations: [{name: d}]\n    runner_config: ${config}\n    ${nested} ${value}\n`
    expect(faultsOf(text)).toContainEqual(expect.stringContaining(`${field}: is not enforced yet`))
  })

  it('lays the section of a profile over the base, by name', () => {
    const text = `${VALID_REGISTRY}
staging:
  services:
    - name: STRIPE
      operations:
        - {name: CREATE_charge, timeout: 5}
        - {name: refund}
      runner_config: {base_url: "https://test.stripe.com", headers: {X-Test: "1"}}
      security_policy: {allowed_domains: [test.stripe.com]}
    - {name: extra, type: t, category: c, operations: [{name: o}], runner_config: {base_url: "https://example.org"}}
`
    const { profiles, faults } = parseRegistry(text, 'r.yaml')
    expect(faults).toEqual([])
    expect(REGISTRY_PROFILES.map((profile) => profiles[profile].size)).toEqual([5, 6, 5])
    expect(profiles.staging.get('stripe')?.service).toMatchObject({
      operations: [
        { timeout: 5, max_retries: 1, input_schema: { amount: 'number' } },
        { name: 'refund', timeout: 30 },
      ],
      runner_config: {
        base_url: 'https://test.stripe.com',
        headers: { 'X-Account': '${ACCOUNT}', 'X-Test': '1' },
        auth_type: 'bearer',
      },
      security_policy: { allowed_domains: ['test.stripe.com'], max_response_size: 1_000_000 },
    })
    expect(profiles.production.get('stripe')?.service.operations).toHaveLength(1)
  })

  it('points into the section where the fault is', () => {
    const text = `${VALID_REGISTRY}production:\n  services:\n    - name: stripe\n      runner_config: {base_url: "gopher://x"}\n`
    expect(faultsOf(text)).toEqual([
      expect.stringMatching(/^r\.yaml:\d+:33: production\.services\.0\.runner_config\.base_url: must be a URL/),
    ])
  })

  it('never throws anything but an empty registry, whatever the mapping', () => {
    const key = fc.constantFrom(
      'services',
      'production',
      'name',
      'type',
      'category',
      'operations',
      'execution_type',
      'runner_config',
      'security_policy',
      'input_schema',
      'base_url',
      'constructor',
      'toString',
      'a',
    )
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 6 },
        fc.constantFrom(null, 1, 'http', 'sandbox', 'DOCKER', '${A}', 'a', '', -1, true),
        fc.array(tie('tree'), { maxLength: 3 }),
        fc.dictionary(key, tie('tree'), { maxKeys: 5 }),
      ),
    }))
    fc.assert(
      fc.property(fc.record({ services: fc.array(tree, { maxLength: 3 }), production: tree }), (value) => {
        try {
          parseRegistry(JSON.stringify(value), 'r.yaml')
        } catch (error) {
          expect(String(error)).toContain('Service registry is empty')
        }
      }),
      { numRuns: 300 },
    )
  })
})
