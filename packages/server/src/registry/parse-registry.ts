import { type Profile, PROFILES } from '../domain/profiles.ts'
import { type Located, type Place, placeAt, readLocatedYaml, toPlain } from '../platform/yaml/located-yaml.ts'
import { checkService } from './check-service.ts'
import { explainIssues, explainUnknown, type Remark } from './explain-issues.ts'
import { FaultReport } from './fault-report.ts'
import { NOT_ENFORCED_YET } from './field-support.ts'
import {
  compileOperationSchema,
  deferOperationSchema,
  type OperationSchema,
  OperationSchemaError,
} from './operation-schema.ts'
import { nameOf, overlayServices } from './overlay-profile.ts'
import { RegistryError, type RegistryFault } from './registry-fault.ts'
import {
  COMMON_SERVICE_SCHEMA,
  REGISTRY_EXECUTION_TYPES,
  type RegistryExecutionType,
  type Service,
  SERVICE_SCHEMAS,
} from './schema/service.ts'

/** Sections that overlay the base, each by its name, for the profile of that name. */
export const REGISTRY_PROFILES = PROFILES
export type RegistryProfile = Profile

/** A service that passed every check, with what its checks need to point into the file. */
export interface CheckedService {
  service: Service
  /** Of each operation, in their order. */
  schemas: readonly OperationSchemas[]
  /** As written, before defaults, with the places of its values. */
  source: Located
}

export interface OperationSchemas {
  input: OperationSchema
  output: OperationSchema
}

export interface ParsedRegistry {
  file: string
  /** The services of each profile by their names in lower case. */
  profiles: Readonly<Record<RegistryProfile, ReadonlyMap<string, CheckedService>>>
  /** Every service that its schema accepts, of any profile, also where fields contradict each other. */
  readable: readonly Pick<CheckedService, 'service' | 'source'>[]
  faults: readonly RegistryFault[]
  /** What is accepted and has no effect, or cannot work yet. */
  warnings: readonly RegistryFault[]
  /** A place of the file as a fault there. */
  faultAt(place: Place, message: string): RegistryFault
}

/** With the built-in one, what the database takes of one worker. */
const MAX_SERVICES = 9_999
/** The built-in service, whose name no registry may take. */
const RESERVED_NAMES = new Set(['executor'])

/**
 * Reads a registry's text and finds all its faults at once; throws REGISTRY_EMPTY where it lists no service at all.
 * `defersSchemas` leaves those of the operations for their first use, where somebody has checked them already.
 */
export function parseRegistry(text: string, file: string, { defersSchemas = false } = {}): ParsedRegistry {
  const { root, faults: yamlFaults } = readLocatedYaml(text)
  const report = new FaultReport(text, file)
  for (const { at, message } of yamlFaults) report.fault(at, message)
  const finish = (profiles: ParsedRegistry['profiles'], readable: ParsedRegistry['readable']): ParsedRegistry => ({
    file,
    profiles,
    readable,
    faults: report.faults,
    warnings: report.warnings,
    faultAt: (place, message) => report.at(place, message),
  })
  const none = new Map<string, CheckedService>()
  if (yamlFaults.length > 0) return finish({ development: none, staging: none, production: none }, [])
  if (root === null) throw new RegistryError('REGISTRY_EMPTY', `Service registry is empty: ${file}`)

  const sections = readSections(root, report)
  const checked = new Map<Located, ReadService | null>()
  const profileOf = (profile: RegistryProfile) => {
    const services = new Map<string, CheckedService>()
    for (const node of overlayServices(sections.base, sections[profile])) {
      if (!checked.has(node)) checked.set(node, checkNode(node, report, defersSchemas))
      const result = checked.get(node)
      if (result?.isUsable === true) services.set(result.service.name.toLowerCase(), result)
    }
    return services
  }
  const profiles = {
    development: profileOf('development'),
    staging: profileOf('staging'),
    production: profileOf('production'),
  }
  if (checked.size === 0 && report.isClean)
    throw new RegistryError('REGISTRY_EMPTY', `Service registry is empty: ${file}`)
  return finish(
    profiles,
    [...checked.values()].filter((service) => service !== null),
  )
}

/** A service that its schema accepts; `isUsable` is false where its fields contradict each other. */
type ReadService = CheckedService & { isUsable: boolean }

type Sections = Record<RegistryProfile | 'base', readonly Located[]>

function readSections(root: Located, report: FaultReport): Sections {
  const sections: Sections = { base: [], development: [], staging: [], production: [] }
  if (root.kind !== 'map') {
    report.fault(root.at, 'a registry is a mapping that begins with "services:"')
    return sections
  }
  for (const [key, { keyAt, value }] of root.entries) {
    const profile = REGISTRY_PROFILES.find((name) => name === key)
    if (key === 'services') sections.base = readServices(value, report)
    else if (profile === undefined) report.fault(keyAt, explainUnknown(key, ['services', ...REGISTRY_PROFILES]))
    else if (value.kind === 'map') {
      for (const [inner, entry] of value.entries) {
        if (inner === 'services') sections[profile] = readServices(entry.value, report)
        else report.fault(entry.keyAt, explainUnknown(inner, ['services']))
      }
    } else if (!isNothing(value)) report.fault(value.at, `must be a mapping with "services:"`)
  }
  return sections
}

function readServices(node: Located, report: FaultReport): readonly Located[] {
  if (isNothing(node)) return []
  if (node.kind !== 'list') {
    report.fault(node.at, 'must be a list of services, each beginning with "- name:"')
    return []
  }
  if (node.items.length > MAX_SERVICES)
    report.fault(node.at, `lists ${node.items.length} services; a worker registers at most ${MAX_SERVICES}`)
  const seen = new Map<string, Place>()
  for (const item of node.items) {
    const name = nameOf(item)
    if (name === null) continue
    const place = placeAt(item, ['name'])
    if (seen.has(name)) report.fault(place, `service '${name}' stands here a second time (case does not count)`)
    else if (RESERVED_NAMES.has(name)) report.fault(place, `the name '${name}' is taken by a built-in service`)
    seen.set(name, place)
  }
  return node.items
}

function isNothing(node: Located): boolean {
  return node.kind === 'scalar' && node.value === null
}

function checkNode(node: Located, report: FaultReport, defersSchemas: boolean): ReadService | null {
  if (node.kind !== 'map') {
    report.fault(node.at, 'a service is a mapping that begins with "name:"')
    return null
  }
  const tell = (remark: Remark) => report.fault(placeAt(node, remark.path, remark.at), remark.message)
  const plain = dropNothing(toPlain(node))
  const type = executionTypeOf(plain)
  if (typeof type !== 'string') {
    tell({ path: ['execution_type'], at: 'value', message: type.problem })
    const issues = COMMON_SERVICE_SCHEMA.safeParse(plain).error?.issues ?? []
    for (const remark of explainIssues(COMMON_SERVICE_SCHEMA, issues, plain)) tell(remark)
    return null
  }
  const schema = SERVICE_SCHEMAS[type]
  const parsed = schema.safeParse({ ...plain, execution_type: type })
  for (const path of findUnenforced(type, plain)) {
    tell({
      path,
      at: 'key',
      message: `is not enforced yet for services of type ${type}, so it is refused: take it out`,
    })
  }
  const { schemas, remarks: schemaRemarks } = compileSchemas(
    plain,
    defersSchemas ? deferOperationSchema : compileOperationSchema,
  )
  for (const remark of schemaRemarks) tell(remark)
  if (!parsed.success) {
    for (const remark of explainIssues(schema, parsed.error.issues, plain)) tell(remark)
    return null
  }
  const service: Service = parsed.data
  const { faults, warnings } = checkService(service)
  for (const remark of faults) tell(remark)
  for (const { path, at, message } of warnings) report.warn(placeAt(node, path, at), message)
  return { service, schemas, source: node, isUsable: faults.length === 0 && schemaRemarks.length === 0 }
}

/** A key with nothing behind it counts as absent, as it did; within schemas null is a value. */
export function dropNothing(value: unknown): Record<string, unknown> {
  const drop = (inner: unknown): unknown => {
    if (Array.isArray(inner)) return inner.map(drop)
    if (typeof inner !== 'object' || inner === null) return inner
    const kept = Object.entries(inner).filter(([, each]) => each !== null)
    return Object.fromEntries(
      kept.map(([key, each]) => [key, key === 'input_schema' || key === 'output_schema' ? each : drop(each)]),
    )
  }
  const dropped = drop(value)
  return typeof dropped === 'object' && dropped !== null ? (dropped as Record<string, unknown>) : {}
}

function executionTypeOf(plain: Record<string, unknown>): RegistryExecutionType | { problem: string } {
  const stated = plain['execution_type'] ?? 'http'
  const lower = typeof stated === 'string' ? stated.toLowerCase() : ''
  const type = REGISTRY_EXECUTION_TYPES.find((name) => name === lower)
  if (type !== undefined) return type
  const shown = typeof stated === 'string' ? stated.slice(0, 60) : typeof stated
  const name = typeof plain['name'] === 'string' ? plain['name'].slice(0, 100) : '?'
  return {
    problem: `Invalid execution_type '${shown}' for service ${name}. Valid types: [${REGISTRY_EXECUTION_TYPES.join(', ')}]`,
  }
}

function findUnenforced(type: RegistryExecutionType, plain: Record<string, unknown>): string[][] {
  const fields: readonly string[] = NOT_ENFORCED_YET[type] ?? []
  return fields
    .map((field) => field.split('.'))
    .filter((path) => {
      let at: unknown = plain
      for (const key of path) {
        if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return false
        at = (at as Record<string, unknown>)[key]
      }
      return true
    })
}

function compileSchemas(
  plain: Record<string, unknown>,
  compile: typeof compileOperationSchema,
): { schemas: OperationSchemas[]; remarks: Remark[] } {
  const operations: unknown[] = Array.isArray(plain['operations']) ? plain['operations'] : []
  const remarks: Remark[] = []
  const compileField = (
    operation: unknown,
    index: number,
    field: 'input_schema' | 'output_schema',
  ): OperationSchema => {
    const definition = readField(operation, field)
    try {
      return compile(definition, field === 'input_schema')
    } catch (error) {
      if (!(error instanceof OperationSchemaError)) throw error
      remarks.push({ path: ['operations', index, field, ...error.path], at: 'value', message: error.message })
      return compileOperationSchema({}, false)
    }
  }
  const schemas = operations.map((operation, index) => ({
    input: compileField(operation, index, 'input_schema'),
    output: compileField(operation, index, 'output_schema'),
  }))
  return { schemas, remarks }
}

/** A field that is no mapping is told of by the service's own schema. */
function readField(operation: unknown, field: string): Record<string, unknown> {
  if (typeof operation !== 'object' || operation === null || !Object.hasOwn(operation, field)) return {}
  const value = (operation as Record<string, unknown>)[field]
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}
