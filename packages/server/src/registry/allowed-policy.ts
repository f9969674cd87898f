import { hash } from 'node:crypto'
import { canonicalJson } from '../platform/text/canonical-json.ts'
import { Redactor } from '../platform/text/redact.ts'
import { redactJson } from '../platform/text/redact-json.ts'
import type { ServiceConfig } from './create-services.ts'
import type { RegistryExecutionType, Service, ServiceOf } from './schema/service.ts'

/** What a service's jobs may do, as the audit trail tells it. */
export interface AllowedPolicy {
  /** SHA-256 of the whole service as it was obeyed, in canonical JSON, without secrets: two with the same digest were under the same policy. */
  policyDigest: string
  /** The parts of it that somebody will ask for. */
  terms: Readonly<Record<string, unknown>>
  /** Ways out of the isolation that the type has by default. Where there is one, an entry is written before the attempt runs. */
  exceptions: readonly string[]
}

type Terms = Omit<AllowedPolicy, 'policyDigest'>

const DESCRIBE: { [Type in RegistryExecutionType]: (service: ServiceOf<Type>) => Terms } = {
  http: ({ runner_config: { base_url: baseUrl }, security_policy: policy }) => ({
    terms: {
      domains: policy.allowed_domains ?? (baseUrl === undefined ? [] : [URL.parse(baseUrl)?.hostname ?? baseUrl]),
      max_request_size: policy.max_request_size,
      max_response_size: policy.max_response_size,
    },
    exceptions: policy.allowed_networks.map((network) => `network ${network}`),
  }),
  shell: ({ security_policy: policy }) => ({
    terms: {
      commands: policy.allowed_commands,
      folders: policy.working_directory_restrictions,
      network: policy.network_access,
      file_access: policy.file_access,
    },
    exceptions: [
      ...(policy.network_access === 'all' ? ['network_access all'] : []),
      ...policy.allowed_networks.map((network) => `network ${network}`),
      ...(policy.file_access === 'read_write' ? ['file_access read_write'] : []),
    ],
  }),
  docker: ({ runner_config: config, security_policy: policy }) => ({
    terms: {
      images: policy.allowed_images ?? [config.image],
      image: config.image,
      network: config.network_mode,
      volumes: config.volumes.map((volume) => `${volume.host_path}:${volume.container_path}:${volume.mode}`),
    },
    exceptions: [
      ...(config.network_mode === 'none' ? [] : [`network_mode ${config.network_mode}`]),
      ...config.volumes.filter(({ mode }) => mode === 'rw').map((volume) => `writable ${volume.host_path}`),
    ],
  }),
  serverless: ({ runner_config: config, security_policy: policy }) => ({
    terms: {
      provider: config.provider,
      function: config.function_name,
      providers: policy.allowed_providers,
      regions: policy.allowed_regions,
      cost_limits: policy.cost_limits,
    },
    exceptions: [],
  }),
  sandbox: ({ runner_config: config, security_policy: policy }) => ({
    terms: { environment: config.environment, isolation: policy.isolation, formats: policy.formats },
    exceptions: [],
  }),
}

/** What the registry's service allows. */
export function describeAllowed({ service, secrets, script }: Omit<ServiceConfig, 'registryFiles'>): AllowedPolicy {
  const redactor = new Redactor()
  redactor.use(secrets.redacted)
  const { terms, exceptions } = describe(service)
  const { security_policy: policy } = service
  const resolved = { service, script_sha256: script === null ? null : sha256(script) }
  return {
    policyDigest: digestOf(redactJson(canonicalJson(dropAbsent(resolved)), redactor)),
    terms: {
      ...terms,
      limits: 'resource_limits' in policy ? policy.resource_limits : undefined,
      rate_limit_per_minute: policy.rate_limit_per_minute,
      max_concurrent: policy.max_concurrent,
    },
    exceptions,
  }
}

/** What a service that is its sandbox policy alone allows: the built-in one, whose payloads ask for less. */
export function describeSandboxPolicy(policy: {
  isolation: string
  formats: readonly string[]
  limits: object
}): AllowedPolicy {
  const { isolation, formats, limits } = policy
  return { policyDigest: digestOf(canonicalJson(policy)), terms: { isolation, formats, limits }, exceptions: [] }
}

function describe(service: Service): Terms {
  switch (service.execution_type) {
    case 'http':
      return DESCRIBE.http(service)
    case 'shell':
      return DESCRIBE.shell(service)
    case 'docker':
      return DESCRIBE.docker(service)
    case 'serverless':
      return DESCRIBE.serverless(service)
    case 'sandbox':
      return DESCRIBE.sandbox(service)
  }
}

/** A property that is undefined is one that is not there. */
function dropAbsent(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

function digestOf(text: string): string {
  return `sha256:${sha256(text)}`
}

function sha256(text: string): string {
  return hash('sha256', text, 'hex')
}
