import { describe, expect, it } from 'vitest'
import { parseRegistry } from '../../registry/parse-registry.ts'
import { VALID_REGISTRY } from '../../registry/registry.fixture.ts'
import { SecretSource } from '../../registry/secret-source.ts'
import { limitsOf, readShellConfig, type ShellConfig } from './shell-config.ts'
import { readCall } from './shell-input.ts'

function configOf(policy: string, runner = '{}'): ShellConfig {
  const text = VALID_REGISTRY.replace(
    'security_policy:\n      allowed_commands: [/usr/bin/report]\n      resource_limits: {memory_mb: 256, cpu_seconds: 10}',
    `runner_config: ${runner}\n    security_policy: ${policy}`,
  )
  const parsed = parseRegistry(text, 'r.yaml')
  const service = parsed.profiles.development.get('report')?.service
  if (service === undefined) throw new Error(parsed.faults.map(({ message }) => message).join('; '))
  return readShellConfig({
    service,
    registryFiles: [],
    script: null,
    secrets: new SecretSource({ variables: {}, secretFiles: {} }),
  })
}

const read = (input: unknown, config = configOf('{file_access: read}')) => readCall(JSON.stringify(input), config)
const codeOf = (input: unknown, config?: ShellConfig) => {
  const reading = read(input, config)
  return reading.ok ? 'ok' : reading.failure.code
}

describe('readCall', () => {
  it('keeps arguments as they are', () => {
    const args = ['; rm -rf /', '$(id)', '`id`', 'a\nb', '--', '-rf', '*', "'", '"', '\\', '', 'é']
    expect(read({ command: '/usr/bin/echo', args })).toMatchObject({ ok: true, call: { args, script: null } })
  })

  it('takes a script for the shell of the service, beside its positional arguments', () => {
    const call = { shell: true, script: 'echo "$1"', args: ['-c', 'x'] }
    expect(read(call)).toMatchObject({
      ok: true,
      call: { command: '/bin/bash', script: 'echo "$1"', args: ['-c', 'x'] },
    })
  })

  it.each([
    [{}],
    [null],
    [[]],
    ['/bin/ls'],
    [{ command: ['/bin/ls'] }],
    [{ command: '/bin/ls', args: '-l' }],
    [{ command: '/bin/ls', args: [1] }],
    [{ command: '/bin/ls', args: Array.from({ length: 251 }, () => 'x') }],
    [{ command: '/bin/ls', args: ['x'.repeat(40_000)] }],
    [{ command: '/bin/ls', args: ['\u0001'.repeat(6_000)] }],
    [{ command: '/bin/ls', args: ['a\u0000b'] }],
    [{ command: '/bin/ls', shell: true }],
    [{ command: '/bin/ls', script: 'ls', shell: true }],
    [{ script: 'ls' }],
    [{ script: 'ls', shell: false }],
    [{ shell: true }],
    // What is the service's to say.
    [{ command: '/bin/ls', environment: { LD_PRELOAD: '/workspace/input/x.so' } }],
    [{ command: '/bin/ls', env: { BASH_ENV: '/workspace/input/x' } }],
    [{ command: '/bin/ls', timeout: 1 }],
    [{ command: '/bin/ls', network_access: 'all' }],
    [{ command: '/bin/ls', sandbox_environment: 'other' }],
  ])('%j is no call', (input) => {
    expect(codeOf(input)).toBe('INPUT_INVALID')
  })

  it.each(['../x', 'a/b', '.x', '-x', 'a\nb', '', 'ü', 'x'.repeat(129)])('a file called %j is refused', (name) => {
    expect(codeOf({ command: '/bin/ls', files: [{ name, text: '' }] })).toBe('INPUT_NAME_INVALID')
  })

  it('refuses two files of one name, and takes __proto__ for a name like others', () => {
    const file = { name: '__proto__', text: 'x' }
    expect(codeOf({ command: '/bin/ls', files: [file, file] })).toBe('INPUT_NAME_INVALID')
    expect(read({ command: '/bin/ls', files: [file] })).toMatchObject({ call: { files: [file] } })
  })

  it('takes no file where the service has no access to any', () => {
    const none = configOf('{}')
    expect(codeOf({ command: '/bin/ls', files: [{ name: 'a', text: '' }] }, none)).toBe('FILE_ACCESS_DENIED')
    const datasets = [{ digest: `sha256:${'0'.repeat(64)}` }]
    expect(codeOf({ command: '/bin/ls', datasets }, none)).toBe('FILE_ACCESS_DENIED')
    expect(codeOf({ command: '/bin/ls' }, none)).toBe('ok')
  })
})

describe('a shell service', () => {
  it('has no network, no files and the default environment unless it says so', () => {
    expect(configOf('{}')).toMatchObject({
      network: { level: 'none' },
      fileAccess: 'none',
      sandboxEnvironment: 'python-sci',
      shell: '/bin/bash',
      timeoutSeconds: 600,
      cpuPercent: null,
    })
    expect(configOf('{network_access: localhost}').network).toEqual({ level: 'loopback' })
  })

  it.each([
    ['{working_directory_restrictions: [/srv]}', '{}', 'is below none of them'],
    ['{working_directory_restrictions: [/srv]}', '{working_directory: /srvx}', 'is below none of them'],
    ['{}', '{environment: {path: x}}', 'must be capital letters'],
    ['{}', '{environment: {ERGON_OUTPUT_DIR: x}}', 'must be capital letters'],
    ['{formats: [csv]}', '{}', 'has no effect with file_access none'],
    ['{max_artifacts: 1, file_access: read}', '{}', 'has no effect with file_access read'],
    ['{}', `{environment: {A: ${'x'.repeat(8_000)}, B: ${'x'.repeat(8_000)}, C: ${'x'.repeat(800)}}}`, 'at most 16384'],
  ])('with policy %s and configuration %.60s is refused', (policy, runner, says) => {
    expect(() => configOf(policy, runner)).toThrow(says)
  })

  it('is held to the shortest of its clocks, and to its own limits', () => {
    const config = configOf(
      '{resource_limits: {memory_mb: 64, cpu_seconds: 2.5, cpu_cores: 0.5, disk_mb: 8, max_output_kb: 4}}',
      '{timeout: 20}',
    )
    expect(config.cpuPercent).toBe(50)
    expect(limitsOf(config, 30)).toMatchObject({
      timeout_ms: 20_000,
      cpu_ms: 2_500,
      memory_mb: 64,
      disk_mb: 8,
      max_output_kb: 4,
    })
    expect(limitsOf(config, 5).timeout_ms).toBe(5_000)
    expect(limitsOf(configOf('{resource_limits: {memory_mb: 65536}}'), 86_400)).toMatchObject({ memory_mb: 65_536 })
  })
})
