import { ErgonError } from '../platform/errors/ergon-error.ts'
import { EXECUTION_TYPE_NAMES, hasRunner } from '../registry/field-support.ts'
import {
  type CheckedService,
  type OperationSchemas,
  type ParsedRegistry,
  type RegistryProfile,
  parseRegistry,
} from '../registry/parse-registry.ts'
import { publishRegistrySchema } from '../registry/published-schema.ts'
import { readRegistry } from '../registry/read-registry.ts'
import { gatherRegistry, type GatherOptions, requireNoFaults } from '../registry/registry-bundle.ts'
import { faultText, RegistryError, type RegistryFault } from '../registry/registry-fault.ts'
import { REGISTRY_EXECUTION_TYPES, type Operation, type Service } from '../registry/schema/service.ts'
import { checkSecurity, type SecurityFinding } from '../registry/security/check-security.ts'
import { judgeRisks } from '../registry/security/judge-risks.ts'
import { SECURITY_RULES } from '../registry/security/rule-catalogue.ts'
import { operationNotFound, serviceNotFound } from '../registry/service-registry.ts'

export { faultText }
export type { SecurityFinding }

export interface RegistryQuestion {
  /** Null where nobody named one, which throws REGISTRY_NOT_FOUND. */
  file: string | null
  profile: RegistryProfile
  /** Rules of the security check that the operator lives with; none unless it is said. */
  acceptedRisks?: readonly string[]
}

/** Every risk of a registry file, the worst first. */
export async function checkRegistrySecurity({ file }: RegistryQuestion): Promise<SecurityFinding[]> {
  const { parsed, mode } = await readRegistry(requireFile(file))
  return checkSecurity(parsed, mode)
}

export interface RegistryReport {
  ok: boolean
  file: string
  profile: RegistryProfile
  services: number
  faults: readonly RegistryFault[]
  warnings: readonly RegistryFault[]
}

/** Where what services name is looked for. */
export type Outside = Pick<GatherOptions, 'env' | 'secretStores'>

/** Every fault of a registry file; with an outside also whether everything that its services name is there. */
export async function checkRegistry(
  { file, profile, acceptedRisks = [] }: RegistryQuestion,
  outside: Outside | null,
): Promise<RegistryReport> {
  const { parsed, mode } = await readRegistry(requireFile(file))
  const risks = judgeRisks({ parsed, mode, profile, executionTypes: REGISTRY_EXECUTION_TYPES, acceptedRisks })
  const isReadable = parsed.faults.length === 0
  const faults = [
    ...parsed.faults,
    ...(isReadable ? risks.faults : []),
    ...(outside === null || !isReadable ? [] : await findMissing(parsed, profile, outside)),
  ]
  return {
    ok: faults.length === 0,
    file: parsed.file,
    profile,
    services: parsed.profiles[profile].size,
    faults,
    warnings: [...parsed.warnings, ...risks.warnings, ...unservedServices(parsed, profile)],
  }
}

/** What the services of a valid registry name and nobody finds. */
export async function findMissingReferences(
  { file, profile }: RegistryQuestion,
  outside: Outside,
): Promise<readonly RegistryFault[]> {
  const { parsed } = await readRegistry(requireFile(file))
  return findMissing(parsed, profile, outside)
}

async function findMissing(
  parsed: ParsedRegistry,
  profile: RegistryProfile,
  outside: Outside,
): Promise<readonly RegistryFault[]> {
  try {
    // Risks are judged apart from this, also where there is no environment to look things up in.
    const acceptedRisks = Object.keys(SECURITY_RULES)
    const executionTypes = REGISTRY_EXECUTION_TYPES
    await gatherRegistry({ file: parsed.file, profile, executionTypes, acceptedRisks, ...outside })
    return []
  } catch (error) {
    if (error instanceof RegistryError) return error.faults
    throw error
  }
}

function unservedServices(parsed: ParsedRegistry, profile: RegistryProfile): RegistryFault[] {
  return [...parsed.profiles[profile].values()]
    .filter(({ service }) => !hasRunner(service.execution_type))
    .map(({ service, source }) =>
      parsed.faultAt(
        source.at,
        `no runner of this build serves execution type ${service.execution_type}: jobs of service '${service.name}' are never claimed`,
      ),
    )
}

/** The services of a valid registry; throws a RegistryError with every fault of one that is not. */
export async function openRegistry({ file, profile }: RegistryQuestion): Promise<OpenRegistry> {
  const { parsed } = await readRegistry(requireFile(file))
  requireNoFaults(parsed, parsed.faults)
  return new OpenRegistry(parsed.profiles[profile])
}

/** The same of a registry that somebody else has read. */
export function openRegistryText(text: string, file: string, profile: RegistryProfile): OpenRegistry {
  const parsed = parseRegistry(text, file)
  requireNoFaults(parsed, parsed.faults)
  return new OpenRegistry(parsed.profiles[profile])
}

function requireFile(file: string | null): string {
  if (file !== null) return file
  throw new RegistryError(
    'REGISTRY_NOT_FOUND',
    'Service registry not found: name one with --registry FILE or the setting ERGON_REGISTRY',
  )
}

export interface FoundOperation {
  service: Service
  operation: Operation
  schemas: OperationSchemas
}

/** A registry to look things up in; case does not count. */
export class OpenRegistry {
  readonly #services: ReadonlyMap<string, CheckedService>

  constructor(services: ReadonlyMap<string, CheckedService>) {
    this.#services = services
  }

  summaries(): ServiceSummary[] {
    return [...this.#services.values()].map(({ service }) => summarise(service))
  }

  /** Throws SERVICE_NOT_FOUND. */
  service(name: string): Service {
    return this.#find(name).service
  }

  /** Throws SERVICE_NOT_FOUND or OPERATION_NOT_FOUND. */
  operationOf(name: string, wanted: string): FoundOperation {
    const { service, schemas } = this.#find(name)
    const index = service.operations.findIndex((operation) => operation.name.toLowerCase() === wanted.toLowerCase())
    const operation = service.operations[index]
    const found = schemas[index]
    if (operation !== undefined && found !== undefined) return { service, operation, schemas: found }
    const names = service.operations.map((each) => each.name)
    throw operationNotFound(wanted, service.name, names)
  }

  /** `SERVICE.OPERATION`; throws USAGE, SERVICE_NOT_FOUND or OPERATION_NOT_FOUND. */
  operation(reference: string): FoundOperation {
    // A dot may be part of either name.
    const dots = [...reference.matchAll(/\./g)].map(({ index }) => index)
    const dot = dots.find((at) => this.#services.has(reference.slice(0, at).toLowerCase())) ?? dots[0]
    if (dot === undefined) throw new ErgonError('USAGE', `${JSON.stringify(reference)}: expected SERVICE.OPERATION`)
    return this.operationOf(reference.slice(0, dot), reference.slice(dot + 1))
  }

  #find(name: string): CheckedService {
    const found = this.#services.get(name.toLowerCase())
    if (found !== undefined) return found
    throw serviceNotFound(
      name,
      this.summaries().map((service) => service.name),
    )
  }
}

/** What a list says of a service. */
export interface ServiceSummary {
  name: string
  type: string
  category: string
  execution_type: string
  display_name: string
  has_runner: boolean
  operations: string[]
}

function summarise(service: Service): ServiceSummary {
  return {
    name: service.name,
    type: service.type,
    category: service.category,
    execution_type: service.execution_type,
    display_name: EXECUTION_TYPE_NAMES[service.execution_type],
    has_runner: hasRunner(service.execution_type),
    operations: service.operations.map(({ name }) => name),
  }
}

/** Throws RUNNER_NOT_REGISTERED for a service whose jobs nobody would ever claim. */
export function requireRunner({ execution_type: type }: Service): void {
  if (hasRunner(type)) return
  throw new ErgonError(
    'RUNNER_NOT_REGISTERED',
    `No runner registered for execution type: ${EXECUTION_TYPE_NAMES[type]}`,
  )
}

/** The JSON Schema of a registry file. */
export const registryJsonSchema = publishRegistrySchema
