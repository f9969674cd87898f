import type { JsonSchema } from '../../registry/short-form.ts'
import type { TypeFamily } from '../sql-type.ts'
import type { EntityPlan } from '../plan/plan.ts'
import type { Services } from '../plan/service-lookup.ts'
import { propertyName, schemaToTypeScript } from './schema-to-typescript.ts'

export const TYPES_FILE = 'ergon-types.ts'
export const TYPES_HEADER = '// Compiled by ergon'

/** TypeScript types of what operations take and give and of what actions are called with, as a PostgreSQL driver sees it. */
export function emitTypes(services: Services, plans: readonly EntityPlan[], version: string): string {
  const operations = [...services.values()].flatMap(({ checked: { service, schemas } }) =>
    service.operations.map((operation, index) => [
      `  ${JSON.stringify(`${service.name}.${operation.name}`)}: {`,
      `    input: ${ofSchema(schemas[index]?.input.schema)}`,
      `    output: ${ofSchema(schemas[index]?.output.schema)}`,
      '  }',
    ]),
  )
  const actions = plans.flatMap(({ entity, actions: planned }) =>
    planned.map(({ name, parameters, returns, returnedFields }) => [
      `  ${JSON.stringify(`${entity.schema}.${name}`)}: {`,
      `    parameters: ${parametersType(parameters)}`,
      `    returns: ${returnedFields !== null ? returnedType(returnedFields) : returns === 'void' ? 'void' : ofResult(returns)}`,
      '  }',
    ]),
  )
  return [
    `${TYPES_HEADER} ${version.replace(/[^0-9A-Za-z.+-]/g, '?')} from the service registry and the entity files. Changes belong there.`,
    '',
    '/** Input and output of every operation, by service and operation. */',
    'export interface Operations {',
    ...operations.flat(),
    '}',
    '',
    '/** Parameters, in their order, and result of every compiled function. */',
    'export interface Actions {',
    ...actions.flat(),
    '}',
    '',
  ].join('\n')
}

/** Input and output are objects, whatever else is said of them. */
function ofSchema(schema: JsonSchema = {}): string {
  return Object.keys(schema).length === 0 ? 'Record<string, unknown>' : schemaToTypeScript(schema, '    ')
}

function orNull(type: string): string {
  const plain = ofSqlType(type)
  return plain === 'unknown' ? plain : `${plain} | null`
}

/** The driver makes objects of intervals and doubles of a list's numbers, which as parameters may be texts. */
function ofResult(type: string): string {
  if (type.startsWith('interval')) return 'unknown'
  return type.startsWith('numeric') && type.endsWith('[]') ? '(number | null)[] | null' : orNull(type)
}

function parametersType(parameters: EntityPlan['actions'][number]['parameters']): string {
  const named = parameters.map(({ name, type }) => `${propertyName(name.slice(1))}: ${orNull(type)}`)
  return `[${named.join(', ')}]`
}

/** A mapping comes back as JSON. */
function returnedType(fields: NonNullable<EntityPlan['actions'][number]['returnedFields']>): string {
  const named = fields.map(({ name, type }) => `${propertyName(name)}: ${JSON_TYPES[type.family]}`)
  return `{ ${named.join('; ')} }`
}

const JSON_TYPES = {
  text: 'string | null',
  uuid: 'string | null',
  date: 'string | null',
  timestamp: 'string | null',
  interval: 'string | null',
  number: 'number | null',
  boolean: 'boolean | null',
  array: 'unknown[] | null',
  json: 'unknown',
  unknown: 'unknown',
} as const satisfies Record<TypeFamily, string>

/** What the driver `pg` takes and gives: numbers past a double's are texts. */
function ofSqlType(type: string): string {
  if (type.endsWith('[]')) return `(${ofSqlType(type.slice(0, -2))} | null)[]`
  switch (type.replace(/\(.*\)$/, '')) {
    case 'boolean':
      return 'boolean'
    case 'smallint':
    case 'integer':
    case 'double precision':
      return 'number'
    case 'date':
    case 'timestamptz':
      return 'Date'
    case 'jsonb':
      return 'unknown'
    default:
      return 'string'
  }
}
