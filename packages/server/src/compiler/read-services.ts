import { canonicalJson } from '../platform/text/canonical-json.ts'
import { toPlain } from '../platform/yaml/located-yaml.ts'
import { describeAllowed } from '../registry/allowed-policy.ts'
import { type CheckedService, dropNothing, type RegistryProfile } from '../registry/parse-registry.ts'
import { readRegistry, readScript, reasonOf } from '../registry/read-registry.ts'
import { requireNoFaults } from '../registry/registry-bundle.ts'
import { findClearSecrets } from '../registry/security/clear-secrets.ts'
import { SecretSource } from '../registry/secret-source.ts'
import type { CompiledService } from './plan/plan.ts'
import type { Services } from './plan/service-lookup.ts'

/** The services of a registry file as the compiler needs them; throws a RegistryError. No reference is expanded. */
export async function readServices(file: string, profile: RegistryProfile): Promise<Services> {
  const { parsed } = await readRegistry(file)
  requireNoFaults(parsed, parsed.faults)
  const services = new Map<string, CompiledService>()
  for (const [name, checked] of parsed.profiles[profile]) {
    const script = 'script' in checked.service.runner_config ? (checked.service.runner_config.script ?? null) : null
    try {
      services.set(name, describeService(checked, script === null ? null : await readScript(file, script)))
    } catch (error) {
      requireNoFaults(parsed, [parsed.faultAt(checked.source.at, `the script cannot be used: ${reasonOf(error)}`)])
    }
  }
  return services
}

const NO_SECRETS = new SecretSource({ variables: {}, secretFiles: {} })

/** `script` is the text of the service's program, if it has one. */
export function describeService(checked: CheckedService, script: string | null): CompiledService {
  const { service, source } = checked
  const isClear = findClearSecrets(service).some(({ path }) => path[0] === 'runner_config')
  return {
    checked,
    policyDigest: describeAllowed({ service, secrets: NO_SECRETS, script }).policyDigest,
    runnerConfig: isClear ? null : canonicalJson(dropNothing(toPlain(source))['runner_config'] ?? {}),
  }
}
