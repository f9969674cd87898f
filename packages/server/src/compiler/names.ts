import { hash } from 'node:crypto'

/** What PostgreSQL keeps of a name; beyond, two names would become one. */
export const MAX_NAME = 63

/** OrderItem → order_item. */
export function snakeCase(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replace(/([A-Z])([A-Z][a-z])/g, '$1_$2')
    .toLowerCase()
}

/** The variable that holds a job's id: `_job_id_<service><operation>` without underscores; a long name ends in a digest. */
export function jobVariable(service: string, operation: string): string {
  const name = `_job_id_${`${service}${operation}`.toLowerCase().replace(/[^a-z0-9]/g, '')}`
  if (name.length <= MAX_NAME) return name
  return `${name.slice(0, MAX_NAME - 9)}_${hash('sha256', name, 'hex').slice(0, 8)}`
}

/** `<entity>_<service>_<operation>_success` or `_failure`; null when PostgreSQL would cut it. */
export function callbackName(
  entity: string,
  service: string,
  operation: string,
  outcome: 'success' | 'failure',
): string | null {
  const stem = [snakeCase(entity), service, operation].join('_').toLowerCase()
  const name = `${stem.replace(/[^a-z0-9_]/g, '_')}_${outcome}`
  return name.length <= MAX_NAME ? name : null
}

/** Names that functions use themselves, without the underscore of their variables. */
const RESERVED = new Set(['result', 'error', 'job', 'output_data', 'error_message', 'job_run_id'])
const RESERVED_PREFIXES = ['ergon_', 'job_id_']

/** Why a word cannot name a parameter or a row; null when it can. Each becomes a variable with an underscore before it. */
export function findNameProblem(name: string): string | null {
  if (!/^[a-z][a-z0-9_]{0,61}$/.test(name))
    return 'must be lower-case letters, digits and "_", beginning with a letter, at most 62'
  if (RESERVED.has(name) || RESERVED_PREFIXES.some((prefix) => name.startsWith(prefix)))
    return `"${name}" is a name that compiled functions use themselves; choose another`
  return null
}

/** A name of a schema, table, field or entity as it stands in SQL. */
export function isSqlName(name: string): boolean {
  return /^[A-Za-z][A-Za-z0-9_]{0,62}$/.test(name)
}
