import { NOT_ENFORCED_YET } from '../field-support.ts'
import { literalAddress } from '../network-address.ts'
import type { Service, ServiceOf } from '../schema/service.ts'
import { findClearSecrets } from './clear-secrets.ts'
import type { SecurityRule, Severity } from './rule-catalogue.ts'

/** Something that is allowed and unwise: where, below the service, and what was seen there. */
export interface Risk {
  rule: SecurityRule
  severity: Severity
  path: PropertyKey[]
  message: string
}

/** Every risk of a service that its schema accepts. */
export function findRisks(service: Service): Risk[] {
  // Nobody is told to state what this build refuses.
  const refused: readonly string[] = NOT_ENFORCED_YET[service.execution_type] ?? []
  const risks = risksOfType(service).filter(
    ({ rule, path }) => rule !== 'missing-limit' || !refused.includes(path.join('.')),
  )
  return [...findClearSecrets(service), ...missingInputSchemas(service), ...risks]
}

function risksOfType(service: Service): Risk[] {
  switch (service.execution_type) {
    case 'http':
      return httpRisks(service)
    case 'shell':
      return shellRisks(service)
    case 'docker':
      return dockerRisks(service)
    case 'serverless':
      return serverlessRisks(service)
    case 'sandbox':
      return missingLimits(service.security_policy.resource_limits, ['memory_mb', 'cpu_seconds'], 'low')
  }
}

function missingInputSchemas({ operations }: Service): Risk[] {
  return operations.flatMap(({ name, input_schema: schema }, index) =>
    Object.keys(schema).length > 0
      ? []
      : [risk('missing-input-schema', 'low', ['operations', index], `operation '${name}' has no input_schema`)],
  )
}

function httpRisks({ runner_config: config, security_policy: policy }: ServiceOf<'http'>): Risk[] {
  const risks: Risk[] = []
  for (const [index, domain] of (policy.allowed_domains ?? []).entries()) {
    if (!domain.startsWith('*')) continue
    // Below a single label (*.com) anybody can have a name.
    const isOpen = domain.split('.').length < 3
    const path = ['security_policy', 'allowed_domains', index]
    risks.push(risk('wildcard-domain', isOpen ? 'high' : 'medium', path, `${domain} allows every host below it`))
  }
  if (config.base_url?.toLowerCase().startsWith('http:') === true) {
    const sendsSecrets = config.auth_type !== 'none'
    const message = sendsSecrets ? `credentials (${config.auth_type}) go over plain http` : 'base_url is plain http'
    risks.push(risk('plain-http', sendsSecrets ? 'high' : 'medium', ['runner_config', 'base_url'], message))
  }
  // At base_url's own address the runner goes to base_url's port alone; to where clouds hand out credentials nothing should.
  const own = addressOf(config.base_url)
  risks.push(...privateNetworks(policy.allowed_networks, (range) => range === own && !range.startsWith('169.254.')))
  if (policy.max_response_size === undefined) risks.push(missing('max_response_size', 'low'))
  if (policy.rate_limit_per_minute === undefined) risks.push(missing('rate_limit_per_minute', 'low'))
  return risks
}

function privateNetworks(ranges: readonly string[], isExpected: (range: string) => boolean = () => false): Risk[] {
  return ranges.map((range, index) => {
    const severity = isWideNetwork(range) && !isExpected(range) ? 'high' : 'medium'
    return risk('private-network', severity, ['security_policy', 'allowed_networks', index], `${range} may be reached`)
  })
}

/** Loopback, the link where clouds hand out credentials, or more than 256 addresses (IPv6: a site). */
function isWideNetwork(range: string): boolean {
  const [address = '', prefix = '0'] = range.split('/')
  if (/^(127\.|169\.254\.|::1$|fe80:)/.test(address)) return true
  return Number(prefix) < (address.includes(':') ? 48 : 24)
}

const WIDE_COMMANDS = new Set(
  `sh bash dash zsh ksh fish csh tcsh busybox env xargs find awk gawk mawk sed python pypy perl ruby node nodejs deno bun
   php lua tclsh java gdb strace ltrace script expect vi vim ed emacs less more man make ninja git tar zip rsync ssh scp
   sudo su doas pkexec runuser setpriv chroot unshare nsenter systemd-run systemctl at crontab nohup timeout nice watch
   docker podman nerdctl ctr kubectl apt apt-get dpkg aptitude yum dnf rpm apk zypper pacman pip pipx npm npx yarn pnpm
   gem cargo go snap flatpak`.split(/\s+/),
)
/** Programs load or run what these name before their own code. */
const LOADER_VARIABLE =
  /^(LD_.*|BASH_ENV|ENV|SHELLOPTS|BASHOPTS|PATH|IFS|PROMPT_COMMAND|PYTHON(PATH|HOME|STARTUP)|PERL5?(LIB|OPT)|RUBY(LIB|OPT)|NODE_(OPTIONS|PATH)|JAVA_TOOL_OPTIONS|GIT_.*COMMAND)$/

function shellRisks({ runner_config: config, security_policy: policy }: ServiceOf<'shell'>): Risk[] {
  const risks: Risk[] = []
  for (const [index, command] of policy.allowed_commands.entries()) {
    // python3.12 is python.
    const name = (command.split('/').at(-1) ?? '').replace(/[\d.-]+$/, '')
    const path = ['security_policy', 'allowed_commands', index]
    if (WIDE_COMMANDS.has(name)) risks.push(risk('wide-command', 'high', path, `${command} runs whatever it is told`))
  }
  risks.push(...loaderVariables(config.environment))
  if (policy.network_access === 'all')
    risks.push(risk('network-access', 'medium', ['security_policy', 'network_access'], 'network_access is all'))
  risks.push(...privateNetworks(policy.allowed_networks))
  if (policy.file_access === 'read_write')
    risks.push(risk('file-access', 'low', ['security_policy', 'file_access'], 'file_access is read_write'))
  return [...risks, ...missingLimits(policy.resource_limits, ['memory_mb', 'cpu_seconds'], 'medium')]
}

function loaderVariables(environment: Readonly<Record<string, string>>): Risk[] {
  return Object.keys(environment)
    .filter((name) => LOADER_VARIABLE.test(name))
    .map((name) =>
      risk('loader-variable', 'high', ['runner_config', 'environment', name], `${name} is set for the job`),
    )
}

/** Whoever holds one of these holds the host, or sees its secrets. */
const SENSITIVE_PLACES = [
  '/etc',
  '/root',
  '/home',
  '/proc',
  '/sys',
  '/dev',
  '/boot',
  '/usr',
  '/bin',
  '/sbin',
  '/lib',
  '/var/lib',
  '/var/run',
  '/run',
]

function dockerRisks({ runner_config: config, security_policy: policy }: ServiceOf<'docker'>): Risk[] {
  const risks: Risk[] = []
  if (!/@sha256:[0-9a-f]{64}$/.test(config.image)) {
    const tag = /:([^/:]+)$/.exec(config.image)?.[1] ?? 'latest'
    const message = `${config.image} is known by its tag ${tag} alone`
    risks.push(risk('mutable-image', tag === 'latest' ? 'high' : 'medium', ['runner_config', 'image'], message))
  }
  for (const [index, image] of (policy.allowed_images ?? []).entries()) {
    const path = ['security_policy', 'allowed_images', index]
    const isOpen = !/[A-Za-z0-9]/.test(image)
    if (image.includes('*'))
      risks.push(risk('wildcard-image', isOpen ? 'high' : 'medium', path, `${image} allows more than one image`))
  }
  if (config.network_mode === 'host')
    risks.push(risk('host-network', 'high', ['runner_config', 'network_mode'], 'network_mode is host'))
  if (config.network_mode === 'bridge')
    risks.push(risk('network-access', 'medium', ['runner_config', 'network_mode'], 'network_mode is bridge'))
  for (const [index, { host_path: hostPath, mode }] of config.volumes.entries()) {
    const path = ['runner_config', 'volumes', index]
    if (mode === 'rw') risks.push(risk('writable-mount', 'high', path, `${hostPath} is mounted writable`))
    if (isSensitive(hostPath)) risks.push(risk('sensitive-mount', 'high', path, `${hostPath} is mounted`))
  }
  for (const [index, root] of policy.volume_restrictions.allowed_host_paths.entries()) {
    const path = ['security_policy', 'volume_restrictions', 'allowed_host_paths', index]
    if (isSensitive(root)) risks.push(risk('sensitive-mount', 'high', path, `${root} may be mounted`))
  }
  risks.push(...loaderVariables(config.environment))
  return [...risks, ...missingLimits(policy.resource_limits, ['memory_mb', 'cpu_cores'], 'medium')]
}

function isSensitive(hostPath: string): boolean {
  const place = hostPath.replace(/\/+/g, '/').replace(/(.)\/$/, '$1')
  return (
    place === '/' ||
    place === '/var' ||
    place.endsWith('.sock') ||
    SENSITIVE_PLACES.some((root) => place === root || place.startsWith(`${root}/`))
  )
}

function serverlessRisks({ runner_config: config, security_policy: policy }: ServiceOf<'serverless'>): Risk[] {
  const risks: Risk[] = []
  const field = config.auth === undefined ? 'auth_config' : 'auth'
  if (config[field]?.type === 'access_key')
    risks.push(risk('long-lived-key', 'medium', ['runner_config', field, 'type'], 'a static access key signs in'))
  if (policy.cost_limits.max_invocations_per_hour === undefined)
    risks.push(missing('cost_limits.max_invocations_per_hour', 'medium'))
  // No input chooses where a function is called, so the one address that the service itself says opens nothing else.
  const said = [config.endpoint, config[field]?.sts_endpoint].map(addressOf)
  risks.push(...privateNetworks(policy.allowed_networks, (range) => said.includes(range)))
  if (policy.allowed_regions === undefined && config.provider === 'aws') risks.push(missing('allowed_regions', 'low'))
  return risks
}

/** The network of a URL's own address alone; null for a name. */
function addressOf(url: string | undefined): string | null {
  const address = literalAddress(URL.parse(url ?? '')?.hostname ?? '')
  return address === null ? null : `${address}/${address.includes(':') ? 128 : 32}`
}

function missingLimits(
  limits: Readonly<Record<string, unknown>>,
  wanted: readonly string[],
  severity: Severity,
): Risk[] {
  return wanted.filter((name) => limits[name] === undefined).map((name) => missing(`resource_limits.${name}`, severity))
}

function missing(name: string, severity: Severity): Risk {
  return risk(
    'missing-limit',
    severity,
    ['security_policy', ...name.split('.')],
    `security_policy.${name} is not stated`,
  )
}

function risk(rule: SecurityRule, severity: Severity, path: PropertyKey[], message: string): Risk {
  return { rule, severity, path, message }
}
