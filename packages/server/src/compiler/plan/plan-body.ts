import type { Place } from '../../platform/yaml/located-yaml.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import type { CallStep, Entity, InsertStep, ReturnStep, Step, UpdateStep, ValidateStep } from '../entity/entity.ts'
import { explainUnsupported } from '../entity/read-steps.ts'
import { assign, requireCondition } from '../expression/write-expression.ts'
import { snakeCase } from '../names.ts'
import { quoteName, quoteText } from '../sql-literal.ts'
import { JSONB, type SqlType } from '../sql-type.ts'
import type { Body, CallPlan, CompiledOperation, SnippetPlan, Statement } from './plan.ts'
import { planCall, writeAt } from './plan-call.ts'
import { type FunctionScope, fieldType } from './scope.ts'
import { findOperation, type Services } from './service-lookup.ts'

/** What the planning of one entity needs to know of the others. */
export interface PlanContext {
  services: Services
  /** By their names in lower case. */
  entities: ReadonlyMap<string, Entity>
  /** False where a file could not be read, whose entity is then no fault of those that name it. */
  isComplete: boolean
}

/** A call with its callbacks, for whoever compiles those. */
export interface FoundCall {
  step: CallStep
  operation: CompiledOperation
}

/** Turns the steps of one action or callback into statements; faults are told in the entity's report. */
export class BodyPlanner {
  readonly body: Body = { statements: [], variables: new Map() }
  readonly calls: FoundCall[] = []
  /** Of the last step, if it returns something. */
  returns: SqlType | null = null
  returnedFields: { name: string; type: SqlType }[] | null = null
  readonly #entity: Entity
  readonly #context: PlanContext
  readonly #scope: FunctionScope
  readonly #params: ReadonlyMap<string, SqlType>
  readonly #identifiers = new Set<string>()

  constructor(entity: Entity, context: PlanContext, scope: FunctionScope, params: ReadonlyMap<string, SqlType>) {
    this.#entity = entity
    this.#context = context
    this.#scope = scope
    this.#params = params
  }

  plan(steps: readonly Step[], isCallback: boolean): void {
    for (const [index, step] of steps.entries()) {
      const isLast = index === steps.length - 1
      switch (step.kind) {
        case 'insert':
          this.#insert(step)
          break
        case 'update':
          this.#update(step, isLast)
          break
        case 'validate':
          this.#validate(step)
          break
        case 'call': {
          const call = this.#call(step)
          if (call === null) break
          const as = step.as === null ? null : `_${step.as}`
          if (as !== null) this.body.variables.set(as, 'uuid')
          if (step.as !== null) this.#scope.bindJob(step.as, `_${step.as}`)
          this.#add({ kind: 'call', call, as })
          break
        }
        case 'return':
          if (isCallback) this.#fault(step.at, 'nobody takes what a callback returns')
          else if (!isLast) this.#fault(step.at, 'return must be the last step')
          this.#return(step)
          break
        case 'unsupported':
          this.#fault(step.at, explainUnsupported(step.name))
          break
      }
    }
  }

  /** Only the calls; of the other steps, somebody else's, no more than the names of the rows that they bind. */
  planSnippets(action: string, steps: readonly Step[]): SnippetPlan[] {
    return steps.flatMap((step, index) => {
      if (step.kind === 'insert') {
        const entity = this.#findEntity(step.entity.text)
        const name = step.as ?? snakeCase(step.entity.text)
        if (entity !== undefined) this.#refuseSubject(name, entity, step.at)
        if (!this.#scope.isTaken(name)) this.#scope.bindRow(name, entity ?? null)
      } else if (step.kind === 'unsupported' && step.as !== null && !this.#scope.isTaken(step.as)) {
        this.#scope.bindRow(step.as, null)
      }
      const call = step.kind === 'call' ? this.#call(step) : null
      if (call !== null) this.#scope.forgetJobs(call.variable)
      if (call !== null && step.kind === 'call' && step.as !== null) this.#scope.bindJob(step.as, call.variable)
      return call === null ? [] : [{ action, step: index + 1, call }]
    })
  }

  #insert({ entity: word, as, values, at }: InsertStep): void {
    const entity = this.#requireEntity(word.text, word.at)
    if (entity === null) return
    const columns =
      values === null
        ? [...this.#params.keys()]
            .filter((param) => entity.fields.has(param) || !entity.declaresFields)
            .map((param) => ({
              field: param,
              value: { at, expression: { kind: 'reference' as const, root: param, path: [] } },
            }))
        : values
    const written = columns.flatMap(({ field, value }) => {
      const sql = writeAt(this.#entity, value, this.#scope, (each) => assign(each, fieldType(entity, field)))
      return sql === null ? [] : [{ field, value: sql }]
    })
    const name = as ?? snakeCase(entity.name)
    const isBound = as !== null || !this.#scope.isTaken(name)
    if (as !== null && this.#scope.isTaken(as))
      this.#fault(at, `$${as} has a meaning already when this step binds it; choose another name with "as:"`)
    this.#refuseSubject(name, entity, at)
    const row = isBound ? this.#scope.bindRow(name, entity) : null
    if (row !== null) this.body.variables.set(row.sql, rowType(entity))
    this.#add({ kind: 'insert', entity, columns: written, into: row?.sql ?? null })
  }

  /** Jobs are those of the entity's own row, whatever has its name. */
  #refuseSubject(name: string, entity: Entity, at: Place): void {
    if (name === this.#scope.subjectName && entity !== this.#entity)
      this.#fault(at, `$${name} is the row of ${this.#entity.name}; name this one otherwise with "as:"`)
  }

  #update({ clause, at }: UpdateStep, isLast: boolean): void {
    const entity = this.#requireEntity(clause.entity, at)
    if (entity === null) return
    const columns = this.#scope.withColumns(entity, 't')
    const seen = new Set<string>()
    const assignments = clause.assignments.flatMap(({ field, value }) => {
      if (seen.has(field)) this.#fault(at, `the field "${field}" is set a second time`)
      seen.add(field)
      const sql = writeAt(this.#entity, { expression: value, at }, columns, (written) =>
        assign(written, fieldType(entity, field)),
      )
      return sql === null ? [] : [{ field, value: sql }]
    })
    const where = writeAt(
      this.#entity,
      { expression: clause.where, at },
      columns,
      (value) => requireCondition(value).sql,
    )
    this.#add({ kind: 'update', entity, assignments, where: where ?? 'false' })
    // What later steps read of a row must be what the row is now.
    if (!isLast) for (const row of this.#scope.rowsOf(entity)) this.#add({ kind: 'reload', row })
  }

  #validate({ condition, error }: ValidateStep): void {
    const sql = writeAt(this.#entity, condition, this.#scope, (value) => requireCondition(value).sql)
    if (sql !== null) this.#add({ kind: 'validate', condition: sql, error })
  }

  #call(step: CallStep): CallPlan | null {
    const operation = findOperation(this.#context.services, step, this.#entity.report)
    if (operation === null) return null
    const call = planCall(step, operation, this.#entity, this.#scope)
    const identity = [call.service, call.operation, ...step.key.map(({ text }) => text)].join(' ').toLowerCase()
    if (this.#identifiers.has(identity))
      this.#fault(
        step.at,
        `an earlier step calls ${call.service}.${call.operation} with the same key, so this would be the same job: add "key:" with what makes it another one`,
      )
    this.#identifiers.add(identity)
    this.body.variables.set(call.variable, 'uuid')
    if (step.as !== null && this.#scope.isTaken(step.as))
      this.#fault(step.at, `$${step.as} has a meaning already when this step binds it; choose another name with "as:"`)
    this.calls.push({ step, operation })
    return call
  }

  #return({ value }: ReturnStep): void {
    if ('expression' in value) {
      const written = writeAt(this.#entity, value, this.#scope, (each) => each)
      if (written === null) return
      this.returns = written.type
      this.#add({ kind: 'return', value: written.sql })
      return
    }
    const fields = value.fields.flatMap(({ name, value: inner }) => {
      const written = writeAt(this.#entity, inner, this.#scope, (each) => each)
      return written === null ? [] : [{ name, ...written }]
    })
    const pairs = fields.map(({ name, sql }) => `${quoteText(name)}, ${sql}`)
    this.returnedFields = fields.map(({ name, type }) => ({ name, type }))
    if (pairs.length > 50) this.#fault(value.at, `returns ${pairs.length} values; at most 50`)
    this.returns = JSONB
    this.#add({ kind: 'return', value: `pg_catalog.jsonb_build_object(${pairs.join(', ')})` })
  }

  #requireEntity(name: string, at: Place): Entity | null {
    const found = this.#findEntity(name)
    if (found !== undefined) return found
    if (!this.#context.isComplete) return null
    const names = [...this.#context.entities.values()].map((entity) => entity.name)
    const similar = closestMatch(name, names)
    const hint = similar === undefined ? '.' : `; did you mean "${similar}"?`
    this.#fault(
      at,
      `no file that is compiled here has the entity "${name.slice(0, 60)}"${hint} Entities: ${names.join(', ')}`,
    )
    return null
  }

  #findEntity(name: string): Entity | undefined {
    return this.#context.entities.get(name.toLowerCase())
  }

  #add(statement: Statement): void {
    this.body.statements.push(statement)
  }

  #fault(at: Place, message: string): void {
    this.#entity.report.fault(at, message)
  }
}

export function rowType({ table }: Entity): string {
  return `${tableName(table)}%rowtype`
}

export function tableName({ schema, name }: Entity['table']): string {
  return `${quoteName(schema)}.${quoteName(name)}`
}
