import { isIP } from 'node:net'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import type { ServiceConfig } from '../../registry/create-services.ts'
import { literalAddress, networksOf } from '../../registry/network-address.ts'
import type { SecretSource } from '../../registry/secret-source.ts'
import { DestinationDenied, type DestinationPolicy, requireAllowedUrl } from './destination.ts'
import { isCredentialed, isHeaderValue, whyNotOurs } from './header-rules.ts'
import type { InnerRetries } from './retry-schedule.ts'

const MS = 1_000
const MIB = 1_048_576
const DEFAULT_CONNECT_TIMEOUT_S = 10
const DEFAULT_BODY_TIMEOUT_S = 30

/** What a service's jobs are run by: checked, expanded, and with the secrets it needs. */
export interface HttpConfig {
  serviceName: string
  /** Null for an old service without base_url, whose jobs fail. */
  base: URL | null
  policy: DestinationPolicy
  /** Sent to base_url's own origin and nowhere else; names in lower case. */
  ownHeaders: Readonly<Record<string, string>>
  /** Whether those, or base_url's query, let the service in somewhere. */
  hasCredentials: boolean
  /** Forms of the secrets that the registry does not know of. */
  derivedSecrets: readonly string[]
  retries: InnerRetries
  totalTimeoutMs: number
  connectTimeoutMs: number
  headersTimeoutMs: number
  bodyTimeoutMs: number
  maxRequestBytes: number
  maxResponseBytes: number
}

const NOWHERE = new URL('https://invalid.invalid/')

/** Reads a service's configuration; throws CONFIG_INVALID, which names the field and never a value that may be secret. */
export function readHttpConfig({ service, secrets }: ServiceConfig<'http'>): HttpConfig {
  const { name, runner_config: config, security_policy: security } = service
  const base = config.base_url === undefined ? null : readBase(config.base_url, name)
  const policy: DestinationPolicy = {
    base: base ?? NOWHERE,
    domains: security.allowed_domains ?? (base === null ? [] : [base.hostname]),
    networks: networksOf(security.allowed_networks),
  }
  if (base !== null) requireAllowedBase(base, policy, name)
  const { headers: authHeaders, derived } = readAuth(config, secrets, name)
  const ownHeaders = { ...readHeaders(config.headers, name), ...authHeaders }
  const totalTimeoutMs = config.timeout * MS
  return {
    serviceName: name,
    base,
    policy,
    ownHeaders,
    hasCredentials: isCredentialed(ownHeaders, base),
    derivedSecrets: derived,
    retries: {
      maxRetries: config.retry_config?.max_retries ?? 0,
      backoffSeconds: config.retry_config?.backoff_factor ?? 0,
      statusCodes: new Set(config.retry_config?.retry_status_codes ?? []),
    },
    totalTimeoutMs,
    connectTimeoutMs: (config.connect_timeout ?? DEFAULT_CONNECT_TIMEOUT_S) * MS,
    headersTimeoutMs: (config.headers_timeout ?? config.timeout) * MS,
    bodyTimeoutMs: (config.body_timeout ?? DEFAULT_BODY_TIMEOUT_S) * MS,
    maxRequestBytes: security.max_request_size ?? MIB,
    maxResponseBytes: security.max_response_size ?? 16 * MIB,
  }
}

function readBase(text: string, service: string): URL {
  const url = new URL(text)
  if (url.username !== '' || url.password !== '')
    throw invalid(service, 'runner_config.base_url', 'holds a user name or password: use auth_type basic')
  if (url.hash !== '') throw invalid(service, 'runner_config.base_url', 'holds a fragment (#…), which is never sent')
  return url
}

function requireAllowedBase(base: URL, policy: DestinationPolicy, service: string): void {
  try {
    requireAllowedUrl(base, policy)
  } catch (error) {
    if (!(error instanceof DestinationDenied)) throw error
    const address = literalAddress(base.hostname)
    const remedy =
      error.code === 'ADDRESS_DENIED' && address !== null
        ? `; if that is meant, add to security_policy: allowed_networks: ["${address}/${isIP(address) === 6 ? 128 : 32}"]`
        : ''
    throw invalid(service, 'runner_config.base_url', `cannot be reached: ${error.message}${remedy}`)
  }
}

function readHeaders(headers: Readonly<Record<string, string>>, service: string): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => {
      const reason = whyNotOurs(name)
      if (reason !== null) throw invalid(service, `runner_config.headers.${name}`, reason)
      return [name.toLowerCase(), requireHeaderValue(value, `runner_config.headers.${name}`, service)]
    }),
  )
}

function readAuth(
  { auth_type: type, auth_config: auth }: ServiceConfig<'http'>['service']['runner_config'],
  secrets: SecretSource,
  service: string,
): { headers: Record<string, string>; derived: string[] } {
  const read = (prefix: string): string => {
    const value = secrets.read(auth, prefix)
    const field = `runner_config.auth_config.${prefix}`
    if (value === null)
      throw invalid(service, field, 'has no value: name an environment variable, a file or a secret of a vault')
    return value
  }
  const asHeader = (prefix: string) => requireHeaderValue(read(prefix), `runner_config.auth_config.${prefix}`, service)
  switch (type) {
    case 'none':
      return { headers: {}, derived: [] }
    case 'bearer':
      return { headers: { authorization: `Bearer ${asHeader('token')}` }, derived: [] }
    case 'basic': {
      const pair = Buffer.from(`${read('username')}:${read('password')}`).toString('base64')
      return { headers: { authorization: `Basic ${pair}` }, derived: [pair] }
    }
    case 'api_key': {
      const name = auth.header_name ?? 'X-API-Key'
      const reason = whyNotOurs(name)
      if (reason !== null) throw invalid(service, 'runner_config.auth_config.header_name', reason)
      return { headers: { [name.toLowerCase()]: asHeader('api_key') }, derived: [] }
    }
  }
}

function requireHeaderValue(value: string, field: string, service: string): string {
  if (isHeaderValue(value)) return value
  throw invalid(service, field, 'holds a character that no HTTP header can')
}

function invalid(service: string, field: string, reason: string): ErgonError {
  return new ErgonError('CONFIG_INVALID', `service '${service}': ${field} ${reason}`)
}
