import { z } from 'zod'
import { closestMatch } from '../platform/text/closest-match.ts'

/** What is wrong with a service, where: a path below the service, of the key itself or of its value. */
export interface Remark {
  path: PropertyKey[]
  at: 'key' | 'value'
  message: string
}

/** Values below these may be secrets that somebody wrote where a name belongs: they are never repeated. */
const MAY_HOLD_SECRETS = /_env_var$|_file$|_vault$|^(headers|environment|auth|auth_config|registry_auth)$/

/** Every issue of a schema as words: the field, what was found, what is allowed, and what was perhaps meant. */
export function explainIssues(
  schema: z.ZodType,
  issues: readonly z.core.$ZodIssue[],
  value: unknown,
  showsValues = true,
): Remark[] {
  return issues.flatMap((issue): Remark[] => {
    const { path } = issue
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => ({
        path: [...path, key],
        at: 'key',
        message: explainUnknown(key, fieldsAt(schema, path)),
      }))
    }
    const seen = valueAt(value, path)
    if (seen === undefined && issue.code !== 'custom')
      return [{ path: [...path], at: 'key', message: explainMissing(path) }]
    const found = showsValues ? describeFound(seen, path) : ''
    return [{ path: [...path], at: 'value', message: `${explain(issue, seen, showsValues)}${found}` }]
  })
}

export function explainUnknown(key: string, known: readonly string[]): string {
  const similar = closestMatch(key, known)
  const hint = similar === undefined ? '' : `; did you mean "${similar}"?`
  return `unknown field "${key.slice(0, 60)}"${hint}${known.length === 0 ? '' : ` Known here: ${known.join(', ')}`}`
}

/** The contract's words for a service's own fields, which tools match on. */
function explainMissing(path: readonly PropertyKey[]): string {
  const field = String(path.at(-1) ?? '')
  if (path.length === 1) return `Service missing required field '${field}'`
  if (path[0] === 'operations' && path.length === 3) return `Operation missing required field '${field}'`
  return `${String(path.at(-2))} missing required field '${field}'`
}

function explain(issue: z.core.$ZodIssue, seen: unknown, showsValues: boolean): string {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${issue.expected === 'int' ? 'a whole number' : withArticle(issue.expected)}`
    case 'invalid_value': {
      const allowed = issue.values.map(String)
      const similar = showsValues && typeof seen === 'string' ? closestMatch(seen, allowed) : undefined
      return `must be one of: ${allowed.join(', ')}${similar === undefined ? '' : ` (did you mean "${similar}"?)`}`
    }
    case 'invalid_key':
      return issue.issues[0]?.message ?? 'is no key that can stand here'
    case 'invalid_union':
      return 'must be text or a list of texts'
    case 'too_small':
      return `must be at least ${String(issue.minimum)}${unitOf(issue.origin)}`
    case 'too_big':
      return `must be at most ${String(issue.maximum)}${unitOf(issue.origin)}`
    case 'custom':
    case 'invalid_format':
    case 'not_multiple_of':
    case 'unrecognized_keys':
    case 'invalid_element':
      return issue.message
  }
}

function withArticle(expected: string): string {
  const names: Record<string, string> = {
    record: 'a mapping',
    object: 'a mapping',
    array: 'a list',
    string: 'text',
    boolean: 'true or false',
  }
  return names[expected] ?? `a ${expected}`
}

function unitOf(origin: string): string {
  if (origin === 'string') return ' characters long'
  return origin === 'array' ? ' entries long' : ''
}

function describeFound(seen: unknown, path: readonly PropertyKey[]): string {
  if (path.some((key) => MAY_HOLD_SECRETS.test(String(key)))) return ''
  if (seen === null) return ' (found nothing)'
  if (Array.isArray(seen)) return ' (found a list)'
  if (typeof seen === 'object') return ' (found a mapping)'
  const text = JSON.stringify(seen)
  return ` (found ${text.length > 80 ? `${text.slice(0, 80)}…` : text})`
}

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  let at = value
  for (const key of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, key)) return undefined
    at = (at as Record<PropertyKey, unknown>)[key]
  }
  return at
}

/** The fields that the schema knows at a path. */
function fieldsAt(schema: z.ZodType, path: readonly PropertyKey[]): string[] {
  let at = unwrap(schema)
  for (const key of path) {
    if (at instanceof z.ZodObject) at = unwrap((at.shape as Record<PropertyKey, z.ZodType>)[key] ?? z.never())
    else if (at instanceof z.ZodArray) at = unwrap(at.element as z.ZodType)
    else return []
  }
  return at instanceof z.ZodObject ? Object.keys(at.shape) : []
}

function unwrap(schema: z.ZodType): z.ZodType {
  let at = schema
  while (
    at instanceof z.ZodDefault ||
    at instanceof z.ZodPrefault ||
    at instanceof z.ZodOptional ||
    at instanceof z.ZodExactOptional
  ) {
    at = at.unwrap() as z.ZodType
  }
  return at
}
