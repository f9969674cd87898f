import { isPrivateAddress, isWithin, literalAddress, networksOf } from './network-address.ts'
import { hasReference } from './references.ts'
import type { ServiceOf } from './schema/service.ts'

type RunnerConfig = ServiceOf<'serverless'>['runner_config']
export type CloudAuth = NonNullable<RunnerConfig['auth_config']>
export type ServerlessProvider = keyof typeof PROVIDER_RULES

/** Who is told what is wrong, and what has no effect. */
interface Remarks {
  fault(path: PropertyKey[], message: string): void
  warn(path: PropertyKey[], message: string): void
}

/** What a provider takes. Addresses are made of these fields, so each has a syntax that cannot leave its place in one. */
const PROVIDER_RULES = {
  aws: {
    place: 'region',
    syntax: {
      // A name, or the ARN that the console shows.
      function_name: /^(arn:aws[a-z-]*:lambda:[a-z0-9-]+:\d{12}:function:)?[A-Za-z0-9_-]{1,64}$/,
      region: /^[a-z]{2}(-[a-z]+){1,3}-\d{1,2}$/,
      qualifier: /^(\$LATEST|[A-Za-z0-9_-]{1,128})$/,
    },
    refused: ['project'],
    auth: {
      default_credentials: { required: [], optional: [] },
      access_key: {
        required: ['access_key_id_env_var', 'secret_access_key_env_var'],
        optional: ['session_token_env_var'],
      },
      profile: { required: ['profile', 'credentials_file'], optional: ['sts_endpoint'] },
      iam_role: {
        required: ['role_arn'],
        optional: [
          'access_key_id_env_var',
          'secret_access_key_env_var',
          'session_token_env_var',
          'profile',
          'credentials_file',
          'sts_endpoint',
        ],
      },
    },
  },
  gcp: {
    place: 'project',
    syntax: {
      function_name: /^[A-Za-z][A-Za-z0-9_-]{0,62}$/,
      region: /^[a-z]+-[a-z]+\d{1,2}$/,
      project: /^[a-z][a-z0-9-]{4,28}[a-z0-9]$/,
    },
    refused: ['qualifier'],
    auth: {
      default_credentials: { required: [], optional: [] },
      service_account: { required: [], optional: ['service_account_key_env_var', 'service_account_key_file'] },
      // A function that anybody may call.
      none: { required: [], optional: [] },
    },
  },
} as const satisfies Record<string, ProviderRules>

interface ProviderRules {
  /** The field without which nobody knows where the function is. */
  place: 'region' | 'project'
  syntax: Partial<Record<'function_name' | 'region' | 'project' | 'qualifier', RegExp>>
  /** Fields that belong to other providers. */
  refused: readonly (keyof RunnerConfig)[]
  auth: Partial<
    Record<CloudAuth['type'], { required: readonly (keyof CloudAuth)[]; optional: readonly (keyof CloudAuth)[] }>
  >
}

/** The region that Google's own tools take where none is said. */
export const DEFAULT_GCP_REGION = 'us-central1'
const ROLE_ARN = /^arn:aws[a-z-]*:iam::\d{12}:role\/[\w+=,.@/-]{1,512}$/

/**
 * What the fields of a serverless service say about each other. No message repeats a value that a reference may have
 * brought: `isExpanded` says that references stand no longer in it.
 */
export function checkServerless(
  service: ServiceOf<'serverless'>,
  remarks: Remarks,
  { isExpanded = false }: { isExpanded?: boolean } = {},
): void {
  const { runner_config: config, security_policy: policy } = service
  const { provider } = config
  for (const field of ['runtime', 'memory_mb', 'environment'] as const) {
    if (config[field] !== undefined) remarks.warn(['runner_config', field], 'has no effect: the function has its own')
  }
  if (config.auth !== undefined && config.auth_config !== undefined)
    remarks.fault(['runner_config', 'auth'], 'is another name of auth_config: keep one of them')
  if (policy.allowed_providers !== undefined && !policy.allowed_providers.includes(provider))
    remarks.fault(['runner_config', 'provider'], 'is not among security_policy.allowed_providers')
  if (provider === 'azure') {
    const known = Object.keys(PROVIDER_RULES).join(', ')
    remarks.fault(['runner_config', 'provider'], `azure is not supported yet; providers: ${known}`)
    return
  }
  checkPlace(config, provider, remarks)
  checkRegion(service, provider, remarks)
  checkAuth(config, provider, remarks)
  for (const [path, text] of statedAddresses(config)) {
    const url = new URL(text)
    const problem = findAddressProblem(url, policy.allowed_networks)
    if (problem !== null) remarks.fault(path, isExpanded ? problem : `${problem}${lineToAdd(url)}`)
  }
}

/** The sign-in of a service, whichever of its two names it has. */
export function authOf(config: RunnerConfig): CloudAuth {
  return config.auth ?? config.auth_config ?? { type: 'default_credentials' }
}

function checkPlace(config: RunnerConfig, provider: ServerlessProvider, remarks: Remarks): void {
  const { place, syntax, refused }: ProviderRules = PROVIDER_RULES[provider]
  if (config[place] === undefined)
    remarks.fault(['runner_config'], `runner_config missing required field '${place}' (provider ${provider})`)
  for (const field of refused)
    if (config[field] !== undefined) remarks.fault(['runner_config', field], `has no effect with provider ${provider}`)
  for (const [field, pattern] of Object.entries(syntax)) {
    const value = config[field as keyof typeof syntax]
    if (value !== undefined && !hasReference(value) && !pattern.test(value))
      remarks.fault(['runner_config', field], `is not what ${provider} calls a ${field.replace('_', ' ')}: ${pattern}`)
  }
}

function checkRegion(
  { runner_config: config, security_policy: { allowed_regions: allowed } }: ServiceOf<'serverless'>,
  provider: ServerlessProvider,
  remarks: Remarks,
): void {
  const region = config.region ?? (provider === 'gcp' ? DEFAULT_GCP_REGION : undefined)
  if (region === undefined || hasReference(region)) return
  if (allowed !== undefined && !allowed.some((each) => hasReference(each) || each === region))
    remarks.fault(['runner_config', 'region'], 'is not among security_policy.allowed_regions')
  const [, , , regionOfArn] = config.function_name.split(':')
  if (regionOfArn !== undefined && !hasReference(config.function_name) && regionOfArn !== region)
    remarks.fault(['runner_config', 'function_name'], 'is in another region than runner_config.region')
}

function checkAuth(config: RunnerConfig, provider: ServerlessProvider, remarks: Remarks): void {
  const auth = authOf(config)
  const at = ['runner_config', config.auth === undefined ? 'auth_config' : 'auth']
  const types: ProviderRules['auth'] = PROVIDER_RULES[provider].auth
  const rules = types[auth.type]
  if (rules === undefined) {
    remarks.fault([...at, 'type'], `${auth.type} is none of ${provider}'s: ${Object.keys(types).join(', ')}`)
    return
  }
  for (const field of rules.required)
    if (!isStated(auth, field)) remarks.fault(at, `${auth.type} needs ${[field, ...inVault(field)].join(' or ')}`)
  const fields = [...rules.required, ...rules.optional]
  const known = new Set<string>(['type', ...fields, ...fields.flatMap(inVault)])
  for (const field of Object.keys(auth))
    if (!known.has(field)) remarks.fault([...at, field], `has no effect with type ${auth.type}`)
  const keys = [auth.service_account_key_env_var, auth.service_account_key_file, auth.service_account_key_vault]
  if (auth.type === 'service_account' && keys.filter((key) => key !== undefined).length !== 1)
    remarks.fault(
      at,
      'service_account needs service_account_key_env_var or service_account_key_file or service_account_key_vault, and only one of them',
    )
  for (const field of ['access_key_id_env_var', 'secret_access_key_env_var', 'session_token_env_var'] as const)
    for (const other of inVault(field))
      if (auth[field] !== undefined && auth[other] !== undefined)
        remarks.fault([...at, other], `stands beside ${field}: keep one of them`)
  if (auth.type === 'iam_role') checkRole(auth, at, remarks)
}

/** The other name of a secret that a variable may hold: that of a vault. */
function inVault(field: keyof CloudAuth): (keyof CloudAuth & `${string}_vault`)[] {
  return VAULT_FIELDS.filter((vault) => vault.replace(/_vault$/, '_env_var') === field)
}

const VAULT_FIELDS = [
  'access_key_id_vault',
  'secret_access_key_vault',
  'session_token_vault',
  'service_account_key_vault',
] as const satisfies (keyof CloudAuth)[]

function isStated(auth: CloudAuth, field: keyof CloudAuth): boolean {
  return [field, ...inVault(field)].some((each) => auth[each] !== undefined)
}

/** A role is assumed with an access key, a profile, or what the machine has: never with whatever is found first. */
function checkRole(auth: CloudAuth, at: PropertyKey[], remarks: Remarks): void {
  const { role_arn: role } = auth
  if (role !== undefined && !hasReference(role) && !ROLE_ARN.test(role))
    remarks.fault([...at, 'role_arn'], 'must be arn:aws:iam::ACCOUNT:role/NAME')
  const keys = (['access_key_id_env_var', 'secret_access_key_env_var'] as const).filter((field) =>
    isStated(auth, field),
  ).length
  const profile = [auth.profile, auth.credentials_file].filter((each) => each !== undefined).length
  if (keys === 1 || (keys === 0 && isStated(auth, 'session_token_env_var')))
    remarks.fault(at, 'an access key is access_key_id_env_var and secret_access_key_env_var')
  if (profile === 1) remarks.fault(at, 'a profile is profile and credentials_file')
  if (keys > 0 && profile > 0) remarks.fault(at, 'iam_role takes an access key or a profile, not both')
}

function statedAddresses(config: RunnerConfig): [PropertyKey[], string][] {
  const auth = config.auth === undefined ? 'auth_config' : 'auth'
  const stated: [PropertyKey[], string | undefined][] = [
    [['runner_config', 'endpoint'], config.endpoint],
    [['runner_config', auth, 'sts_endpoint'], config[auth]?.sts_endpoint],
  ]
  return stated.flatMap(([path, url]) => (url === undefined || hasReference(url) ? [] : [[path, url]]))
}

/** What lets a service reach an address that is private by its very text. */
function lineToAdd(url: URL): string {
  const address = literalAddress(url.hostname)
  if (address === null || !isPrivateAddress(address)) return ''
  return `; if ${url.hostname} is meant, add to security_policy: allowed_networks: ["${address}/${address.includes(':') ? 128 : 32}"]`
}

/** What is wrong with an address that tokens and signatures go to, or null: it has TLS, or is private and the policy names it. */
export function findAddressProblem(url: URL, networks: readonly string[]): string | null {
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    return 'must be an address alone: no user, query or fragment'
  const address = literalAddress(url.hostname)
  const isPrivate = address !== null && isPrivateAddress(address)
  if (isPrivate && !isWithin(address, networksOf(networks)))
    return 'is a private address that security_policy.allowed_networks does not name'
  if (url.protocol !== 'https:' && !isPrivate) return 'must begin with https://: credentials go there'
  return null
}
