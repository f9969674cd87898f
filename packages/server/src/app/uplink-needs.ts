import type { Settings } from '../config/settings.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import type { Service } from '../registry/schema/service.ts'
import type { UplinkSupport } from '../sandbox/sandbox.ts'
import { SandboxdClient } from '../sandbox/sandboxd-client.ts'
import { probeIsolation } from './probe-isolation.ts'

/** What the shell services of a registry need of sandboxd beyond what every sandbox has. */
export interface UplinkNeeds {
  /** The services with network_access all. */
  services: readonly string[]
  /** Every private network that one of them names. */
  networks: readonly string[]
}

/** The needs of a registry's file, whose secrets are not asked for; throws as reading it does. */
export async function readUplinkNeeds({ registry, profile }: Settings): Promise<UplinkNeeds | null> {
  if (registry === null) return null
  // Here, since the checker of schemas takes 0.2 s to load.
  const { readRegistry } = await import('../registry/read-registry.ts')
  return findUplinkNeeds((await readRegistry(registry)).parsed.profiles[profile].values())
}

/** The needs of services that were checked; null when none of them wants out. */
export function findUplinkNeeds(checked: Iterable<{ service: Service }>): UplinkNeeds | null {
  const services: string[] = []
  const networks = new Set<string>()
  for (const { service } of checked) {
    if (service.execution_type !== 'shell' || service.security_policy.network_access !== 'all') continue
    services.push(service.name)
    for (const network of service.security_policy.allowed_networks) networks.add(network)
  }
  return services.length === 0 ? null : { services, networks: [...networks] }
}

/** Throws when this machine's sandboxd could give no uplink, before any job finds out. */
export async function requireUplinkHere(needs: UplinkNeeds | null, settings: Settings): Promise<void> {
  if (needs === null) return
  const { lack } = (await probeIsolation(settings)).uplink
  if (lack !== null) throw refusal(needs, `this machine cannot give their sandboxes an uplink: ${lack}`)
}

/** Throws when the sandboxd behind a socket was not started for what the services of a bundle need. */
export async function requireUplinkOf(bundle: RegistryBundle, sandboxdSocket: string): Promise<void> {
  const { servicesOf } = await import('../registry/registry-bundle.ts')
  const needs = findUplinkNeeds(servicesOf(bundle).services)
  if (needs !== null) requireSupport(needs, await new SandboxdClient(sandboxdSocket).uplink())
}

/** Throws where a running sandboxd does not allow what services need. */
export function requireSupport(needs: UplinkNeeds, { allowed, networks }: UplinkSupport): void {
  const remedy = 'start `ergon dev` anew with this registry'
  if (!allowed) throw refusal(needs, `the sandboxd that runs gives no uplinks: ${remedy}`)
  const missing = needs.networks.filter((network) => !networks.includes(network))
  if (missing.length > 0)
    throw refusal(needs, `the sandboxd that runs does not lead to ${missing.join(', ')}: ${remedy}`)
}

function refusal({ services }: UplinkNeeds, reason: string): ErgonError {
  return new ErgonError(
    'HOST_CANNOT_ISOLATE',
    `${services.length === 1 ? `service '${services[0]}' has` : `services ${services.map((name) => `'${name}'`).join(', ')} have`} network_access all, and ${reason}; or set network_access to none or localhost`,
  )
}
