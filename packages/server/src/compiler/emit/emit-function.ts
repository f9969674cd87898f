import type { Entity } from '../entity/entity.ts'
import type { ActionPlan, Body, CallbackGroup, CallbackPlan, RowVariable, Statement } from '../plan/plan.ts'
import { tableName } from '../plan/plan-body.ts'
import { dollarQuote, quoteName, quoteText } from '../sql-literal.ts'
import { emitCall, raise } from './emit-call.ts'

/** An action as a function that runs in the application's own transaction, with the caller's rights. */
export function emitAction({ schema }: Entity, plan: ActionPlan): string {
  const { subject, body } = plan
  const parameters = plan.parameters.map(({ name, type }) => `${name} ${type}`).join(', ')
  // PostgreSQL takes a parameter of numeric(P,S) as any numeric.
  const rounded = plan.parameters.filter(({ type }) => type.startsWith('numeric('))
  const statements = [
    ...rounded.map(({ name, type }) => `${name} := ${name}::${type};`),
    ...(subject === null ? [] : load(subject.row, subject.parameter)),
  ]
  return [
    `create or replace function ${quoteName(schema)}.${quoteName(plan.name)}(${parameters})`,
    `returns ${plan.returns}`,
    'language plpgsql',
    'set search_path = pg_catalog, pg_temp',
    `as ${writeBody([...statements, ...emitStatements(body)], body)};`,
    '',
  ].join('\n')
}

/** The callbacks of one operation: functions that the role ergon_callback alone may call, and their registration. */
export function emitCallbacks(entity: Entity, { service, operation, success, failure }: CallbackGroup): string {
  const functions = [success, failure].flatMap((plan) => (plan === null ? [] : [emitCallback(entity, plan)]))
  return [
    ...functions,
    `grant usage on schema ${quoteName(entity.schema)} to ergon_callback;`,
    'select jobs.register_callbacks(',
    `  entity => ${quoteText(entity.name)}, service => ${quoteText(service)}, operation => ${quoteText(operation)},`,
    `  on_success => ${registered(entity, success)},`,
    `  on_failure => ${registered(entity, failure)}`,
    ');',
    '',
  ].join('\n')
}

const SECOND_ARGUMENT = { success: '_output_data jsonb', failure: '_error_message text' } as const
const SIGNATURE = { success: 'uuid,jsonb', failure: 'uuid,text' } as const

function registered({ schema }: Entity, plan: CallbackPlan | null): string {
  if (plan === null) return 'null'
  return `${quoteText(`${quoteName(schema)}.${quoteName(plan.name)}(${SIGNATURE[plan.outcome]})`)}::regprocedure`
}

const CONTINUE_TRACE =
  "perform pg_catalog.set_config('ergon.traceparent', coalesce((select j.traceparent from jobs.tb_job_run as j where j.id = _job_run_id), ''), true);"

function emitCallback({ schema }: Entity, { name, outcome, subject, body }: CallbackPlan): string {
  const idType = subject.entity.fields.get('id')?.sql ?? 'text'
  const callsServices = body.statements.some(({ kind }) => kind === 'call')
  const statements = [
    // Whoever runs a callback says which entity it is for, and for which tenant and user: the job itself may be gone.
    ...(callsServices ? [CONTINUE_TRACE] : []),
    ...load(subject, `nullif(pg_catalog.current_setting('ergon.entity_pk', true), '')::${idType}`),
  ]
  const qualified = `${quoteName(schema)}.${quoteName(name)}`
  return [
    `create or replace function ${qualified}(_job_run_id uuid, ${SECOND_ARGUMENT[outcome]})`,
    'returns void',
    'language plpgsql',
    'security definer',
    'set search_path = pg_catalog, pg_temp',
    `as ${writeBody([...statements, ...emitStatements(body)], body)};`,
    `revoke all on function ${qualified}(${SIGNATURE[outcome]}) from public;`,
    `grant execute on function ${qualified}(${SIGNATURE[outcome]}) to ergon_callback;`,
    '',
  ].join('\n')
}

function writeBody(statements: string[], { variables }: Body): string {
  const declared = [...variables].map(([name, type]) => `  ${name} ${type};`)
  return dollarQuote(
    [
      '#variable_conflict use_variable',
      ...(declared.length === 0 ? [] : ['declare', ...declared]),
      'begin',
      ...statements.map((line) => `  ${line}`),
      'end',
    ].join('\n'),
  )
}

/** Takes the row and its lock, so that no other transaction changes what the steps decide by. */
function load({ sql, entity }: RowVariable & { entity: Entity }, id: string): string[] {
  return [
    `select t.* into ${sql} from ${tableName(entity.table)} as t where t.id = ${id} for update;`,
    'if not found then',
    ...raise(
      'JB040',
      `pg_catalog.concat(${quoteText(`ENTITY_NOT_FOUND: no ${entity.name} has the id `)}, ${id})`,
      null,
    ),
    'end if;',
  ]
}

function emitStatements({ statements }: Body): string[] {
  return statements.flatMap(emitStatement)
}

function emitStatement(statement: Statement): string[] {
  switch (statement.kind) {
    case 'insert': {
      const { columns, entity, into } = statement
      const names = columns.map(({ field }) => quoteName(field)).join(', ')
      const values = columns.map(({ value }) => value).join(', ')
      return [
        `insert into ${tableName(entity.table)} as t${columns.length === 0 ? '' : ` (${names})`}`,
        columns.length === 0 ? 'default values' : `values (${values})`,
        into === null ? ';' : `returning t.* into ${into};`,
      ]
    }
    case 'update': {
      const set = statement.assignments.map(({ field, value }) => `${quoteName(field)} = ${value}`).join(', ')
      return [`update ${tableName(statement.entity.table)} as t set ${set}`, `where ${statement.where};`]
    }
    case 'reload': {
      const { sql, entity } = statement.row
      return [`select t.* into ${sql} from ${tableName(entity.table)} as t where t.id = ${sql}.id;`]
    }
    case 'validate':
      return [
        `if (${statement.condition}) is not true then`,
        `  raise exception using message = ${quoteText(statement.error)};`,
        'end if;',
      ]
    case 'call':
      return [
        ...emitCall(statement.call),
        ...(statement.as === null ? [] : [`${statement.as} := ${statement.call.variable};`]),
      ]
    case 'return':
      return [`return ${statement.value};`]
  }
}
