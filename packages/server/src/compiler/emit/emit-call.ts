import type { CallPlan } from '../plan/plan.ts'
import { identifierSql } from '../plan/plan-call.ts'
import { quoteJson, quoteText } from '../sql-literal.ts'

/** Settings of the transaction that say who acts; empty is nobody. */
const TENANT = setting('ergon.tenant_id', 'uuid')
const USER = setting('ergon.user_id', 'uuid')
const TRACEPARENT = setting('ergon.traceparent', 'text')

function setting(name: string, type: string): string {
  return `nullif(pg_catalog.current_setting('${name}', true), '')::${type}`
}

/** The statements of one call, PL/pgSQL that leaves the job's id in its variable. */
export function emitCall(call: CallPlan): string[] {
  const identifier = identifierSql(call)
  const columns: [string, string][] = [
    ['identifier', identifier],
    ['idempotency_key', identifier],
    ['service_name', quoteText(call.service)],
    ['operation', quoteText(call.operation)],
    ['input_data', call.input],
    ['tenant_id', TENANT],
    ['triggered_by', USER],
    ['correlation_id', call.correlationId],
    ['entity_type', quoteText(call.entityType)],
    ['entity_pk', call.entityId],
    ['max_attempts', String(call.maxAttempts)],
    ['timeout_seconds', String(call.timeoutSeconds)],
    ['execution_type', quoteText(call.executionType)],
    ['runner_config', quoteJson(call.runnerConfig)],
    ['security_context', securityContext(call)],
    ['traceparent', TRACEPARENT],
    ...(call.onWorkerLost === null ? [] : [['on_worker_lost', quoteText(call.onWorkerLost)] as [string, string]]),
    ...(call.priority === null ? [] : [['priority', String(call.priority)] as [string, string]]),
    ...(call.runAt === null ? [] : [['run_at', call.runAt] as [string, string]]),
  ]
  return [
    ...call.checks.flatMap(({ violation, message, found }) => [
      `if ${violation} then`,
      ...raise(
        'JB042',
        `pg_catalog.concat(${quoteText(`INPUT_INVALID: ${message}, found `)}, coalesce(pg_catalog.left((${found})::text, 60), 'null'))`,
        null,
      ),
      'end if;',
    ]),
    'insert into jobs.tb_job_run (',
    ...columns.map(([name], index) => `  ${name}${index === columns.length - 1 ? '' : ','}`),
    ') values (',
    ...columns.map(([, value], index) => `  ${value}${index === columns.length - 1 ? '' : ','}`),
    ') on conflict (identifier) do nothing',
    `returning tb_job_run.id into ${call.variable};`,
    `if ${call.variable} is null then`,
    ...(call.onConflict === 'error' ? refuseSecond(identifier) : takeExisting(call, identifier)),
    'end if;',
  ]
}

function securityContext({ policyDigest }: CallPlan): string {
  return `pg_catalog.jsonb_build_object('tenant_id', ${TENANT}, 'user_id', ${USER}, 'policy_digest', ${quoteText(policyDigest)})`
}

/** A second statement sees the row that the insert waited for; what the identifier stands for must be the same, not only its text. */
function takeExisting(call: CallPlan, identifier: string): string[] {
  return [
    `  select j.id into ${call.variable} from jobs.tb_job_run as j`,
    `  where j.identifier = ${identifier}`,
    `    and j.tenant_id is not distinct from ${TENANT}`,
    `    and pg_catalog.lower(j.service_name) = ${quoteText(call.service.toLowerCase())} and pg_catalog.lower(j.operation) = ${quoteText(call.operation.toLowerCase())}`,
    `    and j.entity_type = ${quoteText(call.entityType)} and j.entity_pk = ${call.entityId};`,
    `  if ${call.variable} is null then`,
    ...raise(
      'JB007',
      `pg_catalog.concat('IDENTIFIER_TAKEN: another job, perhaps of another tenant, has the identifier "', ${identifier}, '"')`,
      'Add what distinguishes this job to the key of the step.',
      2,
    ),
    '  end if;',
  ]
}

function refuseSecond(identifier: string): string[] {
  return raise(
    'JB041',
    `pg_catalog.concat('JOB_EXISTS: there is a job with the identifier "', ${identifier}, '"')`,
    'Add what distinguishes this job to the key of the step, or take the existing job with on_conflict: existing.',
  )
}

/** An error with a code of the catalogue in its message; `message` is SQL, `hint` plain text. */
export function raise(code: string, message: string, hint: string | null, depth = 1): string[] {
  const indent = '  '.repeat(depth)
  return [
    `${indent}raise exception using`,
    `${indent}  errcode = ${quoteText(code)},`,
    `${indent}  message = ${message}${hint === null ? ';' : ','}`,
    ...(hint === null ? [] : [`${indent}  hint = ${quoteText(hint)};`]),
  ]
}
