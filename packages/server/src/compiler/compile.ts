import type { RegistryFault } from '../registry/registry-fault.ts'
import { CompileError } from './compile-error.ts'
import { emitEntity } from './emit/emit-entity.ts'
import type { Entity } from './entity/entity.ts'
import { readEntity, type SourceText } from './entity/read-entity.ts'
import type { EntityPlan } from './plan/plan.ts'
import { planEntity } from './plan/plan-entity.ts'
import type { Services } from './plan/service-lookup.ts'

export interface CompileOptions {
  services: Services
  /** Of the compiler, for the first line of what it writes. */
  version: string
  isSnippet: boolean
}

export interface CompiledFile {
  /** `<schema>.<table>.sql`, of letters, digits, "_" and ".". */
  name: string
  sql: string
}

/** Reads, plans and writes entity files, the same for the same texts in any order; throws a CompileError with every fault of all of them. */
export function compileEntities(sources: readonly SourceText[], options: CompileOptions): CompiledFile[] {
  return planEntities(sources, options).map((plan) => ({
    name: fileName(plan),
    sql: emitEntity(plan, options.version),
  }))
}

function fileName({ entity }: EntityPlan): string {
  return `${entity.schema}.${entity.table.name}.sql`
}

/** The plans of entity files, by the names of what they compile to: a shell's order of `*` depends on the locale. Throws a CompileError. */
export function planEntities(
  sources: readonly SourceText[],
  { services, isSnippet }: Pick<CompileOptions, 'services' | 'isSnippet'>,
): EntityPlan[] {
  const read = sources.map(readEntity)
  const entities = new Map<string, Entity>()
  for (const { entity } of read) {
    if (entity === null) continue
    const key = entity.name.toLowerCase()
    const other = entities.get(key)
    if (other === undefined) entities.set(key, entity)
    else entity.report.fault(entity.at, `the entity ${entity.name} is in ${other.file} too`)
  }
  const isComplete = read.every(({ entity }) => entity !== null)
  const context = { services, entities, isComplete }
  const plans = [...entities.values()].map((entity) => planEntity(entity, context, { isSnippet }))
  refuseSameNames(plans)
  const faults: RegistryFault[] = read.flatMap(({ report }) => report.faults)
  if (faults.length > 0) throw new CompileError(faults)
  return plans.toSorted((a, b) => (fileName(a) < fileName(b) ? -1 : 1))
}

/** Two functions of one name would replace one another, and so would two files. */
function refuseSameNames(plans: readonly EntityPlan[]): void {
  const owners = new Map<string, string>()
  for (const plan of plans) {
    const { entity, actions, callbacks } = plan
    const { schema, name, report } = entity
    const made = [
      ...actions.map((action) => ({ what: `the function ${schema}.${action.name}`, owner: name })),
      ...callbacks.flatMap(({ service, operation, success, failure }) =>
        [success, failure].flatMap((callback) =>
          callback === null
            ? []
            : [{ what: `the function ${schema}.${callback.name}`, owner: `${name} with ${service}.${operation}` }],
        ),
      ),
      { what: `the file ${fileName(plan)}`, owner: name },
    ]
    for (const { what, owner } of made) {
      const other = owners.get(what.toLowerCase())
      if (other === undefined) owners.set(what.toLowerCase(), owner)
      else
        report.fault(
          entity.at,
          `${what} is made twice, for ${other} and for ${owner}: give one of them, or what it calls, another name`,
        )
    }
  }
}
