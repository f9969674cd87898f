import type { CallStep, Entity, LocatedExpression } from '../entity/entity.ts'
import { MeaningError, type Scope, type SqlValue, writeExpression } from '../expression/write-expression.ts'
import { jobVariable } from '../names.ts'
import { quoteText } from '../sql-literal.ts'
import { InputCheck } from './check-input.ts'
import type { CallPlan, CompiledOperation } from './plan.ts'
import { readInput, writeInput } from './read-input.ts'
import type { FunctionScope } from './scope.ts'

/** The SQL of an expression where it stands; null, and a fault, where it means nothing. */
export function writeAt<Result = SqlValue>(
  entity: Entity,
  { expression, at }: LocatedExpression,
  scope: Scope,
  finish: (value: SqlValue) => Result,
): Result | null {
  try {
    return finish(writeExpression(expression, scope))
  } catch (error) {
    if (!(error instanceof MeaningError)) throw error
    entity.report.fault(at, error.message)
    return null
  }
}

/** What a call of an operation inserts. */
export function planCall(
  step: CallStep,
  { service, operation, schemas }: CompiledOperation,
  entity: Entity,
  scope: FunctionScope,
): CallPlan {
  const { report } = entity
  const { service: stated } = service.checked
  const name = `${stated.name}.${operation.name}`
  const subject = scope.subject()
  const write = (expression: LocatedExpression) => writeAt(entity, expression, scope, (value) => value)
  const check = new InputCheck(name, report)
  const input = readInput(step.input ?? { kind: 'map', entries: new Map(), at: step.at }, report, write)
  check.check(input, schemas.input.schema)
  checkOverrides(step, operation, name, entity)
  if (service.runnerConfig === null)
    report.fault(
      step.service.at,
      `runner_config of ${stated.name} seems to hold a secret in clear, which compiled SQL would carry: name a variable in the registry (ergon security-check says where)`,
    )
  const entityId = `${subject.sql}.id::text`
  const correlation = step.correlation === null ? null : write(step.correlation)
  return {
    variable: jobVariable(stated.name, operation.name),
    service: stated.name,
    operation: operation.name,
    executionType: stated.execution_type,
    entityType: entity.name,
    entityId,
    key: planKey(step, entity, scope, subject.sql),
    correlationId: correlation === null ? entityId : `(${correlation.sql})::text`,
    input: writeInput(input),
    checks: check.checks,
    maxAttempts: (step.maxRetries?.count ?? operation.max_retries) + 1,
    timeoutSeconds: Math.ceil(step.timeout?.seconds ?? operation.timeout),
    runnerConfig: service.runnerConfig ?? 'null',
    policyDigest: service.policyDigest,
    onWorkerLost: operation.on_worker_lost ?? null,
    onConflict: step.onConflict,
    priority: step.priority,
    runAt: step.runAt === null ? null : planRunAt(step.runAt, entity, scope),
  }
}

/** A step can ask for less than the operation allows, as a row can: more would be lowered by the worker without a word. */
function checkOverrides(
  step: CallStep,
  operation: CompiledOperation['operation'],
  name: string,
  { report }: Entity,
): void {
  if (step.timeout !== null && step.timeout.seconds > operation.timeout)
    report.fault(
      step.timeout.at,
      `is ${step.timeout.seconds}, the registry allows ${name} ${operation.timeout} seconds`,
    )
  if (step.maxRetries !== null && step.maxRetries.count > operation.max_retries)
    report.fault(
      step.maxRetries.at,
      `is ${step.maxRetries.count}, the registry allows ${name} ${operation.max_retries}`,
    )
}

/** As a JSON array, so that no two lists of values have the same text. */
function planKey({ key }: CallStep, entity: Entity, scope: FunctionScope, subject: string): string | null {
  if (key.length === 0) return null
  const columns = scope.withColumns(entity, subject)
  const values = key.flatMap(({ value }) => writeAt(entity, value, columns, keyValue) ?? [])
  return `pg_catalog.jsonb_build_array(${values.join(', ')})::text`
}

/** The same text in every session, and for equal values: another one would make another job of the same call. */
function keyValue({ sql, type }: SqlValue): string {
  if (type.isUndeclared === true)
    throw new MeaningError('a field of no known type is no key: say its type under "fields:" of its entity')
  // Seconds since 1970: also of a column without a time zone, and of a date and an interval, which PostgreSQL adds to one.
  if (type.family === 'timestamp') return `pg_catalog.trim_scale(extract(epoch from ${sql}))`
  // Not the 1.50 of 1.5, nor as many digits as extra_float_digits says.
  if (type.sql.startsWith('numeric')) return `pg_catalog.trim_scale((${sql})::pg_catalog.numeric)`
  if (type.family === 'interval' || type.family === 'array' || type.sql === 'double precision')
    throw new MeaningError(`a value of type ${type.sql} is no key, since its text depends on settings of the session`)
  return sql
}

function planRunAt(runAt: LocatedExpression, entity: Entity, scope: FunctionScope): string | null {
  return writeAt(entity, runAt, scope, ({ sql, type }) => {
    if (type.family !== 'timestamp' && type.family !== 'date')
      throw new MeaningError(
        `run_at must be a time, for instance now() + interval '1 hour', found a value of type ${type.sql}`,
      )
    return `coalesce(${sql}, pg_catalog.now())`
  })
}

/** The identifier of a call: one entity, one operation, and what else makes it another call. */
export function identifierSql({ entityType, entityId, service, operation, key }: CallPlan): string {
  const parts = [quoteText(`${entityType}_`), entityId, quoteText(`_${service}_${operation}${key === null ? '' : '_'}`)]
  return [...parts, ...(key === null ? [] : [key])].join(' || ')
}
