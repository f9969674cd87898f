import { closestMatch } from '../platform/text/closest-match.ts'

/** What kinds of values compare with, and can be assigned to, one another. `unknown` is a text or null literal, or a row of a type nobody declared. */
export type TypeFamily =
  | 'text'
  | 'number'
  | 'boolean'
  | 'uuid'
  | 'date'
  | 'timestamp'
  | 'interval'
  | 'json'
  | 'array'
  | 'unknown'

export interface SqlType {
  /** As declared in SQL, in one spelling; of `unknown` it is text. */
  sql: string
  family: TypeFamily
  /** Of numbers: never with a fraction. */
  isWhole?: boolean
  /** Of numbers: may be NaN or infinite, which JSON has no number for. */
  isInexact?: boolean
  /** Of unknown: not a literal but a field or value whose type nobody said. */
  isUndeclared?: boolean
}

const TYPES = {
  text: { sql: 'text', family: 'text' },
  uuid: { sql: 'uuid', family: 'uuid' },
  boolean: { sql: 'boolean', family: 'boolean' },
  smallint: { sql: 'smallint', family: 'number', isWhole: true },
  integer: { sql: 'integer', family: 'number', isWhole: true },
  bigint: { sql: 'bigint', family: 'number', isWhole: true },
  numeric: { sql: 'numeric', family: 'number', isInexact: true },
  'double precision': { sql: 'double precision', family: 'number', isInexact: true },
  date: { sql: 'date', family: 'date' },
  timestamptz: { sql: 'timestamptz', family: 'timestamp' },
  interval: { sql: 'interval', family: 'interval' },
  jsonb: { sql: 'jsonb', family: 'json' },
} as const satisfies Record<string, SqlType>

const ALIASES: Readonly<Record<string, keyof typeof TYPES>> = {
  string: 'text',
  bool: 'boolean',
  int: 'integer',
  int4: 'integer',
  int8: 'bigint',
  int2: 'smallint',
  decimal: 'numeric',
  number: 'numeric',
  float: 'double precision',
  float8: 'double precision',
  timestamp: 'timestamptz',
  datetime: 'timestamptz',
  'timestamp with time zone': 'timestamptz',
  json: 'jsonb',
}

export const UNKNOWN: SqlType = { sql: 'text', family: 'unknown' }
export const UNDECLARED: SqlType = { ...UNKNOWN, isUndeclared: true }
export const TEXT: SqlType = TYPES.text
export const BOOLEAN: SqlType = TYPES.boolean
export const UUID: SqlType = TYPES.uuid
export const NUMERIC: SqlType = TYPES.numeric
/** A whole number of any size. */
export const WHOLE: SqlType = { sql: 'numeric', family: 'number', isWhole: true }
export const TIMESTAMP: SqlType = TYPES.timestamptz
export const DATE: SqlType = TYPES.date
export const INTERVAL: SqlType = TYPES.interval
export const JSONB: SqlType = TYPES.jsonb

/** The type of a field or parameter: a name of the list, `numeric(P,S)`, or one of these with `[]`; or words on what is wrong. */
export function readSqlType(text: string): SqlType | { problem: string } {
  const lower = text.trim().toLowerCase().replace(/\s+/g, ' ')
  const element = lower.endsWith('[]') ? readSqlType(lower.slice(0, -2)) : null
  if (element !== null) {
    if ('problem' in element) return element
    return element.family === 'array' ? refuse(text) : { sql: `${element.sql}[]`, family: 'array' }
  }
  const sized = /^(?:numeric|decimal) ?\( ?(\d{1,3}) ?(?:, ?(\d{1,3}) ?)?\)$/.exec(lower)
  if (sized !== null) {
    const [precision, scale] = [Number(sized[1]), Number(sized[2] ?? 0)]
    if (precision < 1 || scale > precision) return refuse(text)
    return { ...TYPES.numeric, sql: `numeric(${precision},${scale})`, isWhole: scale === 0 }
  }
  const name = Object.hasOwn(ALIASES, lower) ? ALIASES[lower] : lower
  return name !== undefined && Object.hasOwn(TYPES, name) ? TYPES[name as keyof typeof TYPES] : refuse(text)
}

function refuse(text: string): { problem: string } {
  const known = Object.keys(TYPES)
  const similar = closestMatch(text, [...known, ...Object.keys(ALIASES)])
  const hint = similar === undefined ? '.' : `; did you mean "${similar}"?`
  return {
    problem: `unknown type "${text.slice(0, 60)}"${hint} Types: ${known.join(', ')}, numeric(P,S), each with [] for a list`,
  }
}

/** Whether two values can be compared, or one of them take the other's place. */
export function isComparable(a: SqlType, b: SqlType): boolean {
  if (a.family === 'unknown' || b.family === 'unknown') return true
  const isTime = (type: SqlType) => type.family === 'date' || type.family === 'timestamp'
  if (a.family === 'array') return a.sql === b.sql
  return a.family === b.family || (isTime(a) && isTime(b))
}
