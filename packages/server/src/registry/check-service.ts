import { checkServerless } from './check-serverless.ts'
import type { Remark } from './explain-issues.ts'
import { hasReference } from './references.ts'
import {
  findUplinkProblem,
  isPrivateAddress,
  isWithin,
  literalAddress,
  matchesDomain,
  networksOf,
} from './network-address.ts'
import type { Service, ServiceOf } from './schema/service.ts'

/** What fields say about each other: faults make a registry unusable, warnings are shown. */
export interface ServiceRemarks {
  faults: Remark[]
  warnings: Remark[]
}

/** Checks what no single field can tell. */
export function checkService(service: Service): ServiceRemarks {
  const remarks = new Remarks()
  const seen = new Set<string>()
  for (const [index, { name }] of service.operations.entries()) {
    if (seen.has(name.toLowerCase()))
      remarks.fault(
        ['operations', index, 'name'],
        `operation '${name}' stands here a second time (case does not count)`,
      )
    seen.add(name.toLowerCase())
  }
  checkRetry(service, remarks)
  switch (service.execution_type) {
    case 'http':
      checkHttp(service, remarks)
      break
    case 'shell':
      checkShell(service, remarks)
      break
    case 'docker':
      checkDocker(service, remarks)
      break
    case 'serverless':
      checkServerless(service, remarks)
      break
    case 'sandbox':
      checkSandbox(service, remarks)
      break
  }
  return remarks
}

class Remarks implements ServiceRemarks {
  readonly faults: Remark[] = []
  readonly warnings: Remark[] = []

  fault(path: PropertyKey[], message: string): void {
    this.faults.push({ path, at: 'value', message })
  }

  warn(path: PropertyKey[], message: string): void {
    this.warnings.push({ path, at: 'key', message })
  }
}

/** A program leaves an exit code, a service that is reached over a network a status. */
const HAS_STATUS = {
  http: true,
  serverless: true,
  shell: false,
  docker: false,
  sandbox: false,
} as const satisfies Record<Service['execution_type'], boolean>

function checkRetry({ execution_type: type, retry }: Service, remarks: Remarks): void {
  if (retry === undefined) return
  const idle = HAS_STATUS[type] ? 'on_exit_codes' : 'on_status'
  if (retry[idle].length > 0) remarks.fault(['retry', idle], `has no effect with execution_type ${type}`)
  if (retry.backoff_seconds > retry.max_backoff_seconds)
    remarks.fault(
      ['retry', 'backoff_seconds'],
      `is ${retry.backoff_seconds}, above max_backoff_seconds ${retry.max_backoff_seconds}`,
    )
}

function waysToName<Secret extends string>(secret: Secret) {
  return [`${secret}_env_var`, `${secret}_file`, `${secret}_vault`] as const
}

/** The secrets of each auth_type: one of each pair must be named, and nothing else may be. */
const AUTH_SECRETS = {
  none: [],
  bearer: ['token'],
  basic: ['username', 'password'],
  api_key: ['api_key'],
} as const

function checkHttp(
  { name, runner_config: config, security_policy: policy }: ServiceOf<'http'>,
  remarks: Remarks,
): void {
  const { auth_type: type, auth_config: auth, base_url: baseUrl } = config
  const secrets: readonly string[] = AUTH_SECRETS[type]
  const stated = new Set(Object.keys(auth))
  for (const secret of secrets) {
    const keys = waysToName(secret)
    const named = keys.filter((key) => stated.delete(key))
    if (named.length !== 1)
      remarks.fault(
        ['runner_config', 'auth_config'],
        `auth_type ${type} needs ${keys.join(' or ')}, and only one of them`,
      )
  }
  if (type === 'api_key') stated.delete('header_name')
  for (const key of stated) remarks.fault(['runner_config', 'auth_config', key], `has no effect with auth_type ${type}`)

  if (baseUrl === undefined) {
    remarks.warn(['runner_config'], `service '${name}' has no base_url: its jobs fail as VALIDATION_ERROR`)
    return
  }
  if (hasReference(baseUrl)) return
  const { hostname } = new URL(baseUrl)
  const address = literalAddress(hostname)
  if (address !== null && isPrivateAddress(address) && !isWithin(address, networksOf(policy.allowed_networks))) {
    const line = `allowed_networks: ["${address}/${address.includes(':') ? 128 : 32}"]`
    remarks.fault(
      ['runner_config', 'base_url'],
      `${hostname} is a private address; if that is meant, add to security_policy: ${line}`,
    )
  }
  if (
    policy.allowed_domains !== undefined &&
    // A pattern with a reference may match anything.
    !policy.allowed_domains.some((pattern) => hasReference(pattern) || matchesDomain(hostname, pattern))
  )
    remarks.fault(
      ['security_policy', 'allowed_domains'],
      `base_url's host ${hostname} is not among them, so every job would fail`,
    )
}

/** What sandboxd takes of one sandbox. */
const MAX_UPLINK_NETWORKS = 64

/** Names that a sandbox takes for variables; those of the job contract are its own. */
const SANDBOX_VARIABLE =
  /^(?!(ERGON_(PARAMETERS|INPUT_DIR|RESULT|OUTPUT_DIR)|PRAXIS_OUTPUT_DIR)$)[A-Z_][A-Z0-9_]{0,63}$/

function checkShell(
  { name, runner_config: config, security_policy: policy }: ServiceOf<'shell'>,
  remarks: Remarks,
): void {
  if (policy.allowed_commands.length === 0)
    remarks.warn(['security_policy'], `service '${name}' allows no command: add allowed_commands, or all its jobs fail`)
  for (const variable of Object.keys(config.environment)) {
    if (!SANDBOX_VARIABLE.test(variable))
      remarks.fault(
        ['runner_config', 'environment', variable],
        'must be capital letters, digits and "_", at most 64, and none of the names that a sandbox sets itself',
      )
  }
  const folder = config.working_directory ?? '/workspace'
  const roots = policy.working_directory_restrictions
  if (roots.length > 0 && ![folder, ...roots].some(hasReference) && !roots.some((root) => isBelow(folder, root)))
    remarks.fault(
      ['security_policy', 'working_directory_restrictions'],
      `working_directory, which is ${folder}, is below none of them, so every job would fail`,
    )
  for (const field of ['formats', 'max_artifacts'] as const) {
    if (policy[field] !== undefined && policy.file_access !== 'read_write')
      remarks.fault(['security_policy', field], `has no effect with file_access ${policy.file_access}`)
  }
  if (policy.allowed_networks.length > MAX_UPLINK_NETWORKS)
    remarks.fault(
      ['security_policy', 'allowed_networks'],
      `has ${policy.allowed_networks.length} networks, an uplink takes at most ${MAX_UPLINK_NETWORKS}`,
    )
  for (const [index, network] of policy.allowed_networks.entries()) {
    const problem = findUplinkProblem(network)
    if (problem !== null) remarks.fault(['security_policy', 'allowed_networks', index], problem)
  }
  if (policy.allowed_networks.length > 0 && policy.network_access !== 'all')
    remarks.fault(['security_policy', 'allowed_networks'], `has no effect with network_access ${policy.network_access}`)
}

function checkDocker({ runner_config: config, security_policy: policy }: ServiceOf<'docker'>, remarks: Remarks): void {
  if (config.network_mode === 'host')
    remarks.fault(
      ['runner_config', 'network_mode'],
      'host is refused: the container would be in the network of the machine; use none or bridge',
    )
  if (config.network_mode === 'bridge' && policy.network_isolation)
    remarks.fault(
      ['runner_config', 'network_mode'],
      'bridge needs this line in security_policy: network_isolation: false',
    )
  if (config.restart_policy !== undefined)
    remarks.warn(
      ['runner_config', 'restart_policy'],
      'has no effect: a job runs once, and retries are counted by the queue',
    )
  if (
    policy.allowed_images !== undefined &&
    !policy.allowed_images.some((pattern) => matchesImage(config.image, pattern))
  )
    remarks.fault(['runner_config', 'image'], 'is not among security_policy.allowed_images')
  const { allowed_host_paths: allowed, max_volumes: max } = policy.volume_restrictions
  if (config.volumes.length > max)
    remarks.fault(
      ['runner_config', 'volumes'],
      `has ${config.volumes.length} volumes, volume_restrictions.max_volumes is ${max}`,
    )
  for (const [index, { host_path: path }] of config.volumes.entries()) {
    if (hasReference(path) || allowed.some((root) => hasReference(root) || isBelow(path, root))) continue
    remarks.fault(
      ['runner_config', 'volumes', index, 'host_path'],
      'is below none of security_policy.volume_restrictions.allowed_host_paths',
    )
  }
  if (config.registry_auth !== undefined) {
    for (const secret of ['username', 'password'] as const) {
      const keys = waysToName(secret)
      if (keys.filter((key) => config.registry_auth?.[key] !== undefined).length !== 1)
        remarks.fault(['runner_config', 'registry_auth'], `needs ${keys.join(' or ')}, and only one of them`)
    }
  }
}

/** `*` stands for any run of characters but a slash, as far as a digest cannot be hidden in it. */
function matchesImage(image: string, pattern: string): boolean {
  if (hasReference(image) || hasReference(pattern)) return true
  const parts = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, String.raw`\$&`))
  return new RegExp(`^${parts.join('[^/@]*')}$`).test(image)
}

/** By whole parts of the path, as written; the runner asks the real path before it mounts. */
export function isBelow(path: string, root: string): boolean {
  const trimmed = root.replace(/\/+$/, '')
  return path === trimmed || path.startsWith(`${trimmed}/`)
}

function checkSandbox({ runner_config: config }: ServiceOf<'sandbox'>, remarks: Remarks): void {
  if ((config.script === undefined) === (config.code === undefined))
    remarks.fault(
      ['runner_config'],
      'needs script (a file beside the registry) or code (the program itself), and only one of them',
    )
}
