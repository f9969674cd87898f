import { dirname, resolve as resolvePath } from 'node:path'
import { retryRulesOf } from '../domain/retry-policy.ts'
import type { ServiceRegistration } from '../domain/service-registration.ts'
import { canonicalJson } from '../platform/text/canonical-json.ts'
import { placeAt, toPlain } from '../platform/yaml/located-yaml.ts'
import { describeAllowed } from './allowed-policy.ts'
import { explainIssues } from './explain-issues.ts'
import { registrationOf } from './registration-of.ts'
import { type CheckedService, dropNothing, type ParsedRegistry } from './parse-registry.ts'
import { type RegistryBundle, requireNoFaults, servicesOf } from './registry-bundle.ts'
import type { RegistryFault } from './registry-fault.ts'
import { type RegistryExecutionType, type ServiceOf, SERVICE_SCHEMAS } from './schema/service.ts'
import { SecretSource } from './secret-source.ts'
import { expandService, findNeeds } from './service-needs.ts'
import { operationNotFound, type ResolvedService, serviceNotFound, type ServiceRegistry } from './service-registry.ts'

/** What a runner gets of a service: every reference expanded, so never written to a log, a row or an error. */
export interface ServiceConfig<Type extends RegistryExecutionType = RegistryExecutionType> {
  service: ServiceOf<Type>
  secrets: SecretSource
  /** The text of `script`, read when the registry was; null without one. */
  script: string | null
  /** Where the registry, its programs and its secrets are on the host of whoever read them, whichever service names them. */
  registryFiles: readonly string[]
}

/** Whether what a runner was given is a service of its type. */
export function isServiceOf<Type extends RegistryExecutionType>(
  type: Type,
  config: unknown,
): config is ServiceConfig<Type> {
  if (typeof config !== 'object' || config === null || !('service' in config)) return false
  const { service } = config
  return (
    typeof service === 'object' && service !== null && 'execution_type' in service && service.execution_type === type
  )
}

interface KnownService {
  name: string
  operations: ReadonlyMap<string, ResolvedService>
}

export interface CreateServicesOptions {
  /** Services of other types are left out. */
  executionTypes: readonly string[]
  /** The runner's own check of each service; throws what makes the whole version unusable. */
  checkConfig(executionType: string, config: ServiceConfig): void
}

/** The services of a bundle; throws a RegistryError for what a reference expanded to something wrong. */
export function createServices(
  bundle: RegistryBundle,
  { executionTypes, checkConfig }: CreateServicesOptions,
): ServiceRegistry {
  const { parsed, services } = servicesOf(bundle)
  const known = new Map<string, KnownService>()
  const registrations: ServiceRegistration[] = []
  const registryFiles = filesOf(bundle.file, services)
  for (const checked of services) {
    if (!executionTypes.includes(checked.service.execution_type)) continue
    const { config, ...service } = createService(checked, { bundle, parsed, registryFiles })
    checkConfig(checked.service.execution_type, config)
    registrations.push(
      registrationOf(config.service.name, config.service.execution_type, config.service.security_policy),
    )
    known.set(checked.service.name.toLowerCase(), service)
  }
  const names = [...known.keys()]
  return {
    serviceNames: () => names,
    registrations: () => registrations,
    resolve(serviceName, operation) {
      const service = known.get(serviceName.toLowerCase())
      if (service === undefined) throw serviceNotFound(serviceName, names)
      const resolved = service.operations.get(operation.toLowerCase())
      if (resolved !== undefined) return resolved
      throw operationNotFound(
        operation,
        service.name,
        [...service.operations.values()].map((each) => each.operation),
      )
    },
  }
}

/** Both registries as one; the first that knows a name answers. */
export function combineServices(first: ServiceRegistry, second: ServiceRegistry): ServiceRegistry {
  const names = [...first.serviceNames(), ...second.serviceNames()]
  const registrations = [...first.registrations(), ...second.registrations()]
  const ofFirst = new Set(first.serviceNames())
  return {
    serviceNames: () => names,
    registrations: () => registrations,
    resolve(serviceName, operation) {
      const name = serviceName.toLowerCase()
      if (!names.includes(name)) throw serviceNotFound(serviceName, names)
      return (ofFirst.has(name) ? first : second).resolve(serviceName, operation)
    },
  }
}

function createService(
  checked: CheckedService,
  { bundle, parsed, registryFiles }: { bundle: RegistryBundle; parsed: ParsedRegistry; registryFiles: string[] },
): KnownService & { config: ServiceConfig } {
  const service = expand(checked, bundle, parsed)
  const script = 'script' in service.runner_config ? (bundle.scripts[service.runner_config.script ?? ''] ?? null) : null
  const config: ServiceConfig = { service, secrets: secretsOf(checked, bundle), script, registryFiles }
  const allowed = describeAllowed(config)
  const statedRunnerConfig = canonicalJson(dropNothing(toPlain(checked.source))['runner_config'] ?? {})
  const operations = new Map<string, ResolvedService>()
  for (const [index, operation] of service.operations.entries()) {
    const schemas = checked.schemas[index]
    if (schemas === undefined) throw new Error(`operation ${index} of ${service.name} has no schemas`)
    operations.set(operation.name.toLowerCase(), {
      name: service.name,
      operation: operation.name,
      executionType: service.execution_type,
      runnerConfig: config,
      secrets: service.execution_type === 'sandbox' ? null : config.secrets,
      allowed,
      rules: {
        ...schemas,
        timeoutSeconds: operation.timeout,
        maxAttempts: operation.max_retries + 1,
        retry: retryRulesOf(service.retry),
        statedRunnerConfig,
      },
    })
  }
  return { name: service.name, operations, config }
}

function filesOf(registry: string, services: readonly CheckedService[]): string[] {
  const folder = dirname(registry)
  const needs = services.flatMap(({ source }) => findNeeds(source))
  const named = needs.flatMap(({ kind, name }) => (kind === 'variable' ? [] : [resolvePath(folder, name)]))
  return [registry, ...new Set(named)]
}

/** What this service names, and nothing that another one of the registry does. */
function secretsOf({ source }: CheckedService, bundle: RegistryBundle): SecretSource {
  const needs = findNeeds(source)
  const named = (kind: string, values: Record<string, string>) =>
    Object.fromEntries(
      needs.flatMap((need) => {
        const value = need.kind === kind ? values[need.name] : undefined
        return value === undefined ? [] : [[need.name, value] as const]
      }),
    )
  return new SecretSource({
    variables: named('variable', bundle.variables),
    secretFiles: named('secret file', bundle.secretFiles),
    vaultSecrets: named('vault secret', bundle.vaultSecrets ?? {}),
  })
}

function expand(checked: CheckedService, bundle: RegistryBundle, parsed: ParsedRegistry): CheckedService['service'] {
  const { source, service } = checked
  const stated = { ...dropNothing(toPlain(source)), execution_type: service.execution_type }
  if (!JSON.stringify(stated).includes('${')) return service
  const schema = SERVICE_SCHEMAS[service.execution_type]
  const expanded = expandService(stated, new Map(Object.entries(bundle.variables)))
  const result = schema.safeParse(expanded)
  if (result.success) return result.data
  // What a variable holds may be a secret: only the rule that it breaks is told.
  const faults = explainIssues(schema, result.error.issues, expanded, false).map(
    ({ path, message }): RegistryFault =>
      parsed.faultAt(placeAt(source, path), `once its references are expanded: ${message}`),
  )
  requireNoFaults(parsed, faults)
  return service
}
