import { closestMatch } from '../../platform/text/closest-match.ts'
import type { JsonSchema } from '../../registry/short-form.ts'
import type { Entity } from '../entity/entity.ts'
import { MeaningError, type Scope, type SqlValue } from '../expression/write-expression.ts'
import { isSqlName, snakeCase } from '../names.ts'
import { fieldName, quoteText } from '../sql-literal.ts'
import { BOOLEAN, JSONB, NUMERIC, type SqlType, TEXT, UNDECLARED, UUID, WHOLE } from '../sql-type.ts'
import type { RowVariable } from './plan.ts'

/** What the references of one function mean: its parameters, rows, jobs, and in a callback the job's result. */
export class FunctionScope implements Scope {
  /** The row of the function's own entity, under this name. */
  readonly subjectName: string
  /** Set once a step needs the row that no step before it has made. */
  needsSubject = false
  readonly #entity: Entity
  readonly #isCallback: boolean
  readonly #params: ReadonlyMap<string, SqlType>
  readonly #rows = new Map<string, RowVariable>()
  readonly #jobs = new Map<string, string>()
  readonly #values: ReadonlyMap<string, (path: readonly string[]) => SqlValue>

  constructor(entity: Entity, params: ReadonlyMap<string, SqlType>, callback: CallbackValues | null) {
    this.#entity = entity
    this.#params = params
    this.#isCallback = callback !== null
    this.subjectName = snakeCase(entity.name)
    this.#values = callback === null ? new Map() : valuesOf(callback)
    if (this.#isCallback) this.bindRow(this.subjectName, entity)
  }

  /** The row of the function's own entity; from here on it is loaded where no step has made it. */
  subject(): RowVariable & { entity: Entity } {
    if (!this.#rows.has(this.subjectName)) {
      this.needsSubject = true
      this.bindRow(this.subjectName, this.#entity)
    }
    return { sql: `_${this.subjectName}`, entity: this.#entity }
  }

  isTaken(name: string): boolean {
    return this.#rows.has(name) || this.#params.has(name) || this.#jobs.has(name) || this.#values.has(name)
  }

  bindRow(name: string, entity: Entity | null): RowVariable {
    const row = { sql: `_${name}`, entity }
    this.#rows.set(name, row)
    return row
  }

  bindJob(name: string, variable: string): void {
    this.#jobs.set(name, variable)
  }

  /** From here on the variable holds another job. */
  forgetJobs(variable: string): void {
    for (const [name, held] of this.#jobs) if (held === variable) this.#jobs.delete(name)
  }

  /** The rows of an entity that are bound. */
  rowsOf(entity: Entity): (RowVariable & { entity: Entity })[] {
    return [...this.#rows.values()].flatMap((row) => (row.entity === entity ? [{ ...row, entity }] : []))
  }

  reference(root: string, path: readonly string[]): SqlValue {
    const param = this.#params.get(root)
    if (param !== undefined) return inJson({ sql: `_${root}`, type: param }, path, `$${root}`)
    const value = this.#values.get(root)
    if (value !== undefined) return value(path)
    const job = this.#jobs.get(root)
    if (job !== undefined) {
      if (path.length === 1 && path[0] === 'id') return { sql: job, type: UUID }
      throw new MeaningError(`$${root} is a job, of which only $${root}.id is known here`)
    }
    const row = this.#rows.get(root) ?? (root === this.subjectName ? this.subject() : undefined)
    if (row !== undefined) return readField(row, root, path)
    const names = [
      ...new Set([
        ...this.#params.keys(),
        ...this.#rows.keys(),
        ...this.#jobs.keys(),
        ...this.#values.keys(),
        this.subjectName,
      ]),
    ]
    throw new MeaningError(
      `$${root} is no parameter and no row that an earlier step binds${hint(root, names)} Known here: ${names.map((name) => `$${name}`).join(', ')}`,
    )
  }

  column(name: string): SqlValue {
    throw new MeaningError(`"${name}" means nothing here: write $${this.subjectName}.${name}`)
  }

  /** The same, with plain names as columns of a table, or fields of a row, known as `prefix`. */
  withColumns(entity: Entity, prefix: string): Scope {
    return {
      reference: (root, path) => this.reference(root, path),
      column: (name) => {
        const type = fieldType(entity, name)
        return { sql: `${prefix}.${fieldName(name)}`, type }
      },
    }
  }
}

function readField({ sql, entity }: RowVariable, root: string, [field, ...rest]: readonly string[]): SqlValue {
  if (field === undefined) throw new MeaningError(`$${root} is a row: name a field of it, for instance $${root}.id`)
  const type = entity === null ? typeOfAny(field) : fieldType(entity, field)
  return inJson({ sql: `${sql}.${fieldName(field)}`, type }, rest, `$${root}.${field}`)
}

/** The type of a field; throws MeaningError for one that the entity does not have. */
export function fieldType(entity: Entity, field: string): SqlType {
  const type = entity.fields.get(field)
  const anyType = typeOfAny(field)
  if (type !== undefined) return type
  if (!entity.declaresFields) return anyType
  const names = [...entity.fields.keys()]
  throw new MeaningError(`${entity.name} has no field "${field}"${hint(field, names)} Fields: ${names.join(', ')}`)
}

/** A field that nobody declared. */
function typeOfAny(field: string): SqlType {
  if (isSqlName(field)) return UNDECLARED
  throw new MeaningError(`"${field.slice(0, 70)}" cannot be the name of a field`)
}

function inJson(value: SqlValue, path: readonly string[], name: string): SqlValue {
  if (path.length === 0) return value
  if (value.type.family !== 'json') throw new MeaningError(`${name} is of type ${value.type.sql} and has no fields`)
  return { sql: `pg_catalog.jsonb_extract_path(${[value.sql, ...path.map(quoteText)].join(', ')})`, type: JSONB }
}

export interface CallbackValues {
  outcome: 'success' | 'failure'
  operation: string
  outputSchema: JsonSchema
}

function valuesOf({
  outcome,
  operation,
  outputSchema,
}: CallbackValues): ReadonlyMap<string, (path: readonly string[]) => SqlValue> {
  const job = onlyField('job', 'id', { sql: '_job_run_id', type: UUID })
  return new Map(
    outcome === 'success'
      ? [
          ['job', job],
          ['result', (path) => readResult(operation, outputSchema, path)],
        ]
      : [
          ['job', job],
          ['error', onlyField('error', 'message', { sql: '_error_message', type: TEXT })],
        ],
  )
}

function onlyField(root: string, field: string, value: SqlValue): (path: readonly string[]) => SqlValue {
  return (path) => {
    if (path.length === 1 && path[0] === field) return value
    throw new MeaningError(`of $${root} there is only $${root}.${field} here`)
  }
}

/** A field of the output, of the type that output_schema says. */
function readResult(operation: string, schema: JsonSchema, path: readonly string[]): SqlValue {
  let at: unknown = schema
  for (const [index, key] of path.entries()) {
    const properties = memberOf(at, 'properties')
    const next = memberOf(properties, key)
    if (next === undefined) {
      const names = typeof properties === 'object' && properties !== null ? Object.keys(properties) : []
      const where = ['$result', ...path.slice(0, index)].join('.')
      const known = names.length === 0 ? '' : ` Fields of ${where}: ${names.join(', ')}`
      throw new MeaningError(
        `the output_schema of ${operation} does not declare ${where}.${key}${hint(key, names)}${known}`,
      )
    }
    at = next
  }
  const words = ['_output_data', ...path.map(quoteText)].join(', ')
  const text = `pg_catalog.jsonb_extract_path_text(${words})`
  switch (path.length === 0 ? 'object' : memberOf(at, 'type')) {
    case 'string':
      return { sql: text, type: TEXT, isJsonString: true }
    case 'integer':
      return { sql: `(${text})::numeric`, type: WHOLE }
    case 'number':
      return { sql: `(${text})::numeric`, type: { ...NUMERIC, isInexact: false } }
    case 'boolean':
      return { sql: `(${text})::boolean`, type: BOOLEAN }
    default:
      return { sql: path.length === 0 ? '_output_data' : `pg_catalog.jsonb_extract_path(${words})`, type: JSONB }
  }
}

function memberOf(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, key)) return undefined
  return (value as Record<string, unknown>)[key]
}

function hint(word: string, names: readonly string[]): string {
  const similar = closestMatch(word, names)
  return similar === undefined ? '.' : `; did you mean "${similar}"?`
}
