import { expect, it } from 'vitest'
import { parseRegistry } from '../parse-registry.ts'
import { VALID_REGISTRY } from '../registry.fixture.ts'
import { checkSecurity } from './check-security.ts'
import { SECURITY_RULES } from './rule-catalogue.ts'

const check = (text: string, mode = 0o100644) => checkSecurity(parseRegistry(text, 'r.yaml'), mode)
const summaries = (text: string) => check(text).map(({ severity, rule, line }) => `${severity} ${rule} ${line}`)

it('finds nothing in a registry that was written with care', () => {
  expect(check(VALID_REGISTRY)).toEqual([])
})

/** A change to that registry, and the finding that it must give. */
const RISKS: [before: string, after: string, finding: string][] = [
  ['[api.stripe.com]', '["*.stripe.com", api.stripe.com]', 'medium wildcard-domain 14'],
  ['[api.stripe.com]', '["*"]', 'high wildcard-domain 14'],
  ['[api.stripe.com]', '["*.com"]', 'high wildcard-domain 14'],
  ['https://api', 'http://api', 'high plain-http 10'],
  [
    'https://api.stripe.com/v1\n      auth_type: bearer\n      auth_config: {token_env_var: STRIPE_TOKEN}\n      headers: {X-Account: "${ACCOUNT}"}\n    security_policy: {allowed_domains: [api.stripe.com]',
    'http://127.0.0.1:8080\n    security_policy: {allowed_networks: [127.0.0.1/32]',
    'medium private-network 11',
  ],
  [
    'max_response_size: 1000000',
    'allowed_networks: [10.0.0.0/8], max_response_size: 1000000',
    'high private-network 14',
  ],
  [
    'max_response_size: 1000000',
    'allowed_networks: [10.0.0.5/32], max_response_size: 1000000',
    'medium private-network 14',
  ],
  [
    'max_response_size: 1000000',
    'allowed_networks: [169.254.169.254/32], max_response_size: 1000000',
    'high private-network 14',
  ],
  [', max_response_size: 1000000', '', 'low missing-limit 14'],
  ['"${ACCOUNT}"', '"sk_live_0123456789abcdef"', 'high secret-in-clear 13'],
  ['X-Account: "${ACCOUNT}"', 'Authorization: "Bearer abc"', 'high secret-in-clear 13'],
  ['https://api', 'https://me:hunter2@api', 'high secret-in-clear 10'],
  ['[/usr/bin/report]', '[/usr/bin/env]', 'high wide-command 21'],
  ['[/usr/bin/report]', '[/usr/bin/report, /usr/bin/python3.11]', 'high wide-command 21'],
  ['[/usr/bin/report]', '[/usr/bin/report, /bin/bash]', 'high wide-command 21'],
  ['[/usr/bin/report]', '[/usr/bin/apt-get]', 'high wide-command 21'],
  [
    '    security_policy:\n      allowed_commands',
    '    runner_config: {environment: {LD_PRELOAD: /tmp/x.so}}\n    security_policy:\n      allowed_commands',
    'high loader-variable 20',
  ],
  [
    '    security_policy:\n      allowed_commands',
    '    runner_config: {environment: {DB_PASSWORD: hunter2}}\n    security_policy:\n      allowed_commands',
    'high secret-in-clear 20',
  ],
  ['{memory_mb: 256, cpu_seconds: 10}\n  - name: convert', '{}\n  - name: convert', 'medium missing-limit 22'],
  ['allowed_commands: [', 'network_access: all\n      allowed_commands: [', 'medium network-access 21'],
  [
    'allowed_commands: [',
    'network_access: all\n      allowed_networks: [10.0.0.0/8]\n      allowed_commands: [',
    'high private-network 22',
  ],
  ['allowed_commands: [', 'file_access: read_write\n      allowed_commands: [', 'low file-access 21'],
  [`@sha256:${'a'.repeat(64)}`, ':latest', 'high mutable-image 29'],
  [`@sha256:${'a'.repeat(64)}`, '', 'high mutable-image 29'],
  [`@sha256:${'a'.repeat(64)}`, ':1.2', 'medium mutable-image 29'],
  ['volume_restrictions: {', 'allowed_images: ["*"]\n      volume_restrictions: {', 'high wildcard-image 33'],
  [
    'volume_restrictions: {',
    'allowed_images: ["example.org/*@sha256:*"]\n      volume_restrictions: {',
    'medium wildcard-image 33',
  ],
  ['image: example', 'network_mode: host\n      image: example', 'high host-network 29'],
  ['image: example', 'network_mode: host\n      image: example', 'high refused-config 29'],
  ['container_path: /in}', 'container_path: /in, mode: rw}', 'high writable-mount 30'],
  ['[/srv/media]', '[/]', 'high sensitive-mount 33'],
  ['/srv/media/in', '/var/run/docker.sock', 'high sensitive-mount 30'],
  ['cost_limits: {max_invocations_per_hour: 100}', 'cost_limits: {}', 'medium missing-limit 40'],
  [
    '{allowed_regions: [eu-central-1],',
    '{allowed_regions: [eu-central-1], allowed_networks: ["127.0.0.1/32"],',
    'high private-network 40',
  ],
  [
    'region: eu-central-1}\n    security_policy: {',
    'region: eu-central-1, endpoint: "http://127.0.0.1:1"}\n    security_policy: {allowed_networks: ["127.0.0.1/32"], ',
    'medium private-network 40',
  ],
  ['region: eu-central-1}', 'region: eu-central-1, auth: {type: access_key}}', 'medium long-lived-key 39'],
  ['input_schema: {month: string}', 'timeout: 3', 'low missing-input-schema 19'],
  ['type: payment', 'typ: payment', 'high refused-config 3'],
]

it.each(RISKS)('%j changed to %j is %s', (before, after, finding) => {
  expect(VALID_REGISTRY).toContain(before)
  expect(summaries(VALID_REGISTRY.replace(before, after))).toContain(finding)
})

it('finds a file that others can write', () => {
  expect(check(VALID_REGISTRY, 0o100664)).toMatchObject([
    { rule: 'registry-writable', severity: 'high', service: null },
  ])
})

it('has a case for every rule and severity, and a reason and a remedy for each', () => {
  const tried = new Set(RISKS.map(([, , finding]) => finding.split(' ').slice(0, 2).join(' ')))
  const all = Object.entries(SECURITY_RULES).flatMap(([rule, { severities }]) =>
    severities.map((severity) => `${severity} ${rule}`),
  )
  expect(all.filter((each) => !tried.has(each) && each !== 'high registry-writable')).toEqual(['medium plain-http'])
  expect(
    summaries(
      VALID_REGISTRY.replace('https://api', 'http://api')
        .replace('auth_type: bearer', '')
        .replace(/auth_config: .*/, ''),
    ),
  ).toContain('medium plain-http 10')
})

it('repeats no secret', () => {
  const text = VALID_REGISTRY.replace('"${ACCOUNT}"', '"sk_live_0123456789abcdef"')
  expect(JSON.stringify(check(text))).not.toContain('sk_live_0')
})

it('tells a service of the base once, although every profile has it', () => {
  const text = `${VALID_REGISTRY.replace('[api.stripe.com]', '["*"]')}production:\n  services:\n    - {name: stripe, description: live}\n`
  expect(summaries(text)).toEqual(['high wildcard-domain 14'])
})
