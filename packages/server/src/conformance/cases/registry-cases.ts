import type { HostileRegistry } from '../hostile-case.ts'

const SERVICE = `services:
  - name: echo
    type: computation
    category: tests
    execution_type: sandbox
    operations: [{name: back}]
    runner_config: {environment: python-sci, code: pass}
`
const aliases = Array.from(
  { length: 9 },
  (_, i) => `a${i}: &a${i} [${Array.from({ length: 9 }, () => (i === 0 ? 'lol' : `*a${i - 1}`)).join()}]`,
)

/** A name, a registry, a part of its refusal, and the refusal's code where the file is not even read. */
type Refused = readonly [name: string, registry: string, says: string, code?: 'REGISTRY_INVALID' | 'REGISTRY_NOT_FOUND']

/** Row 56. */
const BOMBS: readonly Refused[] = [
  ['aliases of aliases', `${aliases.join('\n')}\n`, 'more than 100000 values once its aliases are followed'],
  ['an alias within its own anchor', 'services: &a [*a]\n', 'within its own anchor'],
  ['lists nested 100 000 deep', `services: ${'['.repeat(100_000)}`, 'more than 100000 YAML tokens'],
  [
    'lists nested 10 000 deep',
    `services: ${'['.repeat(10_000)}${']'.repeat(10_000)}`,
    'nested more than 64 levels deep',
  ],
  ['the same key twice', `${SERVICE}services: []\n`, 'the key "services" stands here a second time'],
  [
    'the key __proto__',
    SERVICE.replace('type: computation', 'type: computation\n    __proto__: {name: executor}'),
    'the key __proto__ is refused',
  ],
  [
    'a string of 10 MB',
    SERVICE.replace('computation', `"${'x'.repeat(10 * 1024 * 1024)}"`),
    'longer than 1048576 bytes',
    'REGISTRY_NOT_FOUND',
  ],
  [
    'a string of a megabyte',
    SERVICE.replace('computation', `"${'x'.repeat(1_000_000)}"`),
    'services.0.type: must be at most 100',
  ],
  ['30 000 faults', `services: [${'{a: 1, b: 2},'.repeat(5_000)}]`, 'only the first 1000 faults are told'],
]

const volume = (hostPath: string) => ({ volumes: [{ host_path: hostPath, container_path: '/data' }] })

/** Row 51: what a docker service may not say, with a part of the refusal. No engine is asked. */
const CONTAINERS: readonly (readonly [name: string, config: Record<string, unknown>, says: string])[] = [
  ["an option in an image's name", { image: 'tool:1 --privileged' }, 'is not the name of an image'],
  ["a path in an image's name", { image: 'a/../../containers/x' }, 'is not the name of an image'],
  ['an image that is not allowed', { image: 'other:1' }, 'is not among security_policy.allowed_images'],
  ["the host's network", { network_mode: 'host' }, 'host is refused'],
  ["another container's network", { network_mode: 'container:abc' }, 'network_mode'],
  ['a network without the policy for it', { network_mode: 'bridge' }, 'network_isolation: false'],
  ['privileges', { privileged: true }, 'privileged'],
  ['capabilities', { cap_add: ['ALL'] }, 'cap_add'],
  ['devices', { devices: ['/dev/kvm'] }, 'devices'],
  ["the host's processes", { pid_mode: 'host' }, 'pid_mode'],
  ['root', { user: '0:0' }, 'user'],
  ['a mount of /tmp/../etc', volume('/tmp/../etc'), 'without ".."'],
  ['a mount that is not allowed', volume('/etc'), 'allowed_host_paths'],
  ['a mount with a similar beginning', volume('/srv/allowed-too'), 'allowed_host_paths'],
]

function container(config: Record<string, unknown>): string {
  const service = {
    ...{ name: 'box', type: 'container', category: 'tests', execution_type: 'docker', operations: [{ name: 'run' }] },
    runner_config: { image: 'tool:1', ...config },
    security_policy: {
      allowed_images: ['tool:1'],
      resource_limits: { memory_mb: 64, cpu_cores: 1 },
      volume_restrictions: { allowed_host_paths: ['/srv/allowed'] },
    },
  }
  return JSON.stringify({ services: [service] })
}

function refused(row: number, [name, registry, says, code = 'REGISTRY_INVALID']: Refused): HostileRegistry {
  return { row, name: `a registry with ${name}`, registry, says, verdicts: [code], counter: null }
}

/** Registries that whoever starts a worker may be given, and that no worker is started with. */
export const REGISTRY_CASES: readonly HostileRegistry[] = [
  ...CONTAINERS.map(([name, config, says]) => refused(51, [name, container(config), says])),
  ...BOMBS.map((bomb) => refused(56, bomb)),
]
