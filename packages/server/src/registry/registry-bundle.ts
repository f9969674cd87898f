import { z } from 'zod'
import {
  type CheckedService,
  parseRegistry,
  type ParsedRegistry,
  REGISTRY_PROFILES,
  type RegistryProfile,
} from './parse-registry.ts'
import { readSecretFile } from './bounded-file.ts'
import { readRegistry, readScript, reasonOf } from './read-registry.ts'
import { RegistryError, type RegistryFault } from './registry-fault.ts'
import type { SecretStores } from './secrets/secret-provider.ts'
import { readSecrets, type SecretAnswer } from './secrets/secret-providers.ts'
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
  /** Secrets of stores by their references; absent where no service names one. */
  vaultSecrets: z.record(z.string(), z.string()).exactOptional(),
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
  /** Where secrets that are named by provider are asked for; nowhere unless it is said. */
  secretStores?: SecretStores
}

export interface GatheredRegistry {
  bundle: RegistryBundle
  warnings: readonly RegistryFault[]
  /** When the first secret of a store ends, in milliseconds from now; null when none says so. */
  secretsExpireInMs: number | null
}

const NO_STORES: SecretStores = { command: null, vaultAddress: null, vaultTokenFile: null }

/** Reads the registry and everything its services name; throws a RegistryError with every fault and every missing thing. */
export async function gatherRegistry(options: GatherOptions): Promise<GatheredRegistry> {
  const { file, profile, env, executionTypes, acceptedRisks = [], secretStores = NO_STORES } = options
  const { text, mode, parsed } = await readRegistry(file)
  requireNoFaults(parsed, parsed.faults)
  const risks = judgeRisks({ parsed, mode, profile, executionTypes, acceptedRisks })
  const variables = new Map<string, string>()
  const secretFiles = new Map<string, string>()
  const scripts = new Map<string, string>()
  const missing: RegistryFault[] = []
  const needs = needsOf(parsed, profile, executionTypes)
  const answers = await readSecrets(
    needs.filter(({ kind }) => kind === 'vault secret').map(({ name }) => name),
    secretStores,
  )
  for (const need of needs) {
    try {
      if (need.kind === 'variable') variables.set(need.name, requireVariable(env, need.name))
      else if (need.kind === 'secret file') secretFiles.set(need.name, await readSecretFile(need.name))
      else if (need.kind === 'script') scripts.set(need.name, await readScript(file, need.name))
      else requireAnswer(answers.get(need.name))
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
    ...(answers.size === 0 ? {} : { vaultSecrets: valuesOf(answers) }),
  }
  return { bundle, warnings: [...parsed.warnings, ...risks.warnings], secretsExpireInMs: soonestEnd(answers) }
}

/** A bundle with the values that its stores give now; what cannot be had keeps the value that it had. */
export async function renewSecrets(
  bundle: RegistryBundle,
  secretStores: SecretStores,
): Promise<{ bundle: RegistryBundle; failures: readonly string[]; secretsExpireInMs: number | null }> {
  const answers = await readSecrets(Object.keys(bundle.vaultSecrets ?? {}), secretStores)
  const failures = [...answers].flatMap(([name, answer]) => (answer.ok ? [] : [`${name}: ${answer.reason}`]))
  return {
    bundle: { ...bundle, vaultSecrets: { ...bundle.vaultSecrets, ...valuesOf(answers) } },
    failures,
    secretsExpireInMs: soonestEnd(answers),
  }
}

function requireAnswer(answer: SecretAnswer | undefined): void {
  if (answer?.ok === false) throw new Error(answer.reason)
}

function valuesOf(answers: ReadonlyMap<string, SecretAnswer>): Record<string, string> {
  const known = [...answers].flatMap(([name, answer]) => (answer.ok ? [[name, answer.secret.value] as const] : []))
  return Object.fromEntries(known)
}

function soonestEnd(answers: ReadonlyMap<string, SecretAnswer>): number | null {
  const ends = [...answers.values()].flatMap((answer) => (answer.ok ? [answer.secret.expiresInMs ?? Infinity] : []))
  const soonest = Math.min(...ends)
  return Number.isFinite(soonest) ? soonest : null
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
