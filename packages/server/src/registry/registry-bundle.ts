import { z } from 'zod'
import {
  type CheckedService,
  parseRegistry,
  type ParsedRegistry,
  REGISTRY_PROFILES,
  type RegistryProfile,
} from './parse-registry.ts'
import { readRegistry, readScript, readSecretFile, reasonOf } from './read-registry.ts'
import { RegistryError, type RegistryFault } from './registry-fault.ts'
import { judgeRisks } from './security/judge-risks.ts'
import { findNeeds, type Need } from './service-needs.ts'

/**
 * A registry with all that it names, read by the process that starts a worker and handed over on standard input: the
 * worker's user can read neither the file nor the starter's environment.
 */
export const registryBundleSchema = z.object({
  file: z.string(),
  text: z.string(),
  profile: z.enum(REGISTRY_PROFILES),
  variables: z.record(z.string(), z.string()),
  /** Secrets by the path of their file. */
  secretFiles: z.record(z.string(), z.string()),
  /** Programs by their path below the registry's folder. */
  scripts: z.record(z.string(), z.string()),
})
export type RegistryBundle = z.infer<typeof registryBundleSchema>

export interface GatherOptions {
  file: string
  profile: RegistryProfile
  env: Readonly<Record<string, string | undefined>>
  /** Only services of these types are asked for what they name: a worker gets no secret that it has no use for. */
  executionTypes: readonly string[]
  /** Rules of `ergon security-check` whose findings do not count; none unless it is said. */
  acceptedRisks?: readonly string[]
}

/** Reads the registry and everything its services name; throws a RegistryError with every fault and every missing thing. */
export async function gatherRegistry(
  options: GatherOptions,
): Promise<{ bundle: RegistryBundle; warnings: readonly RegistryFault[] }> {
  const { file, profile, env, executionTypes, acceptedRisks = [] } = options
  const { text, mode, parsed } = await readRegistry(file)
  requireNoFaults(parsed, parsed.faults)
  const risks = judgeRisks({ parsed, mode, profile, executionTypes, acceptedRisks })
  const variables = new Map<string, string>()
  const secretFiles = new Map<string, string>()
  const scripts = new Map<string, string>()
  const missing: RegistryFault[] = []
  for (const need of needsOf(parsed, profile, executionTypes)) {
    try {
      if (need.kind === 'variable') variables.set(need.name, requireVariable(env, need.name))
      else if (need.kind === 'secret file') secretFiles.set(need.name, await readSecretFile(need.name))
      else scripts.set(need.name, await readScript(file, need.name))
    } catch (error) {
      missing.push(parsed.faultAt(need.at, `the ${need.kind} ${need.name} cannot be used: ${reasonOf(error)}`))
    }
  }
  requireNoFaults(parsed, [...risks.faults, ...missing])
  const bundle = {
    file,
    text,
    profile,
    variables: Object.fromEntries(variables),
    secretFiles: Object.fromEntries(secretFiles),
    scripts: Object.fromEntries(scripts),
  }
  return { bundle, warnings: [...parsed.warnings, ...risks.warnings] }
}

/** The services of a bundle, once more checked where they are used; whoever gathered it has tried the schemas of their operations. */
export function servicesOf(bundle: RegistryBundle): { parsed: ParsedRegistry; services: readonly CheckedService[] } {
  const parsed = parseRegistry(bundle.text, bundle.file, { defersSchemas: true })
  requireNoFaults(parsed, parsed.faults)
  return { parsed, services: [...parsed.profiles[bundle.profile].values()] }
}

export function requireNoFaults({ file }: { file: string }, faults: readonly RegistryFault[]): void {
  if (faults.length === 0) return
  const count = faults.length === 1 ? 'one fault' : `${faults.length} faults`
  throw new RegistryError('REGISTRY_INVALID', `the service registry ${file} has ${count}:`, faults)
}

function needsOf(parsed: ParsedRegistry, profile: RegistryProfile, executionTypes: readonly string[]): Need[] {
  return [...parsed.profiles[profile].values()]
    .filter(({ service }) => executionTypes.includes(service.execution_type))
    .flatMap(({ source }) => findNeeds(source))
}

function requireVariable(env: GatherOptions['env'], name: string): string {
  const value = env[name]
  if (value === undefined) throw new Error('it is not set')
  return value
}
