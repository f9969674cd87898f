import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { checkServerless } from '../../registry/check-serverless.ts'
import { isServiceOf, type ServiceConfig } from '../../registry/create-services.ts'
import type { FunctionClient, FunctionProvider } from './provider.ts'
import { PROVIDERS } from './providers.ts'

const KIB = 1_024

/** A service whose function can be called. */
export interface ServerlessConfig {
  provider: FunctionProvider
  /** For the cost estimate where the provider does not say. */
  memoryMb: number
  timeoutMs: number
  maxResponseBytes: number
  /** The service's one client, made at the first call. */
  client(): Promise<FunctionClient>
}

/** Checks a service as it is once its references are expanded, with the secrets it names; throws CONFIG_INVALID. */
export function readServerlessConfig(config: unknown): ServerlessConfig {
  if (!isServiceOf('serverless', config))
    throw new ErgonError('CONFIG_INVALID', 'this is no service of type serverless')
  const { service } = config
  const { runner_config: runner, security_policy: policy } = service
  const fail = (path: PropertyKey[], message: string): never => {
    throw new ErgonError('CONFIG_INVALID', `service '${service.name}', ${path.join('.')}: ${message}`)
  }
  checkServerless(service, { fault: fail, warn: () => {} }, { isExpanded: true })
  if (runner.provider === 'azure') return fail(['runner_config', 'provider'], 'azure is not supported yet')
  const provider = PROVIDERS[runner.provider]
  const connect = prepare(provider, config)
  const { max_output_kb: maxOutputKb } = policy.resource_limits
  let client: Promise<FunctionClient> | null = null
  return {
    provider,
    memoryMb: runner.memory_mb ?? provider.defaultMemoryMb,
    timeoutMs: Math.round(runner.timeout * 1_000),
    maxResponseBytes: Math.min(provider.limits.response, (maxOutputKb ?? Infinity) * KIB),
    async client() {
      client ??= connect()
      try {
        return await client
      } catch (error) {
        client = null
        throw error
      }
    },
  }
}

function prepare(provider: FunctionProvider, config: ServiceConfig<'serverless'>): () => Promise<FunctionClient> {
  try {
    return provider.prepare(config)
  } catch (error) {
    if (!(error instanceof ErgonError)) throw error
    throw new ErgonError(error.code, `service '${config.service.name}', runner_config.auth_config: ${error.message}`)
  }
}
