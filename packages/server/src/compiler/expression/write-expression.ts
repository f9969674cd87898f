import { closestMatch } from '../../platform/text/closest-match.ts'
import { toJsonNumber } from '../json-number.ts'
import { quoteText } from '../sql-literal.ts'
import {
  BOOLEAN,
  DATE,
  INTERVAL,
  isComparable,
  NUMERIC,
  type SqlType,
  TEXT,
  TIMESTAMP,
  UNKNOWN,
  WHOLE,
} from '../sql-type.ts'
import type { BinaryOperator, Expression } from './parse-expression.ts'

/** A piece of SQL that was composed here, of one type; it can stand anywhere, since it needs no brackets around it. */
export interface SqlValue {
  sql: string
  type: SqlType
  /** A string of JSON, which is how uuids, dates and times come. */
  isJsonString?: boolean
}

/** What the names of an expression mean where it stands; throws MeaningError for a name that means nothing. */
export interface Scope {
  reference(root: string, path: readonly string[]): SqlValue
  column(name: string): SqlValue
}

/** An expression whose words are in order and mean nothing, or cannot go together. */
export class MeaningError extends Error {}

type Args = readonly SqlValue[]

/** How many values each function takes, and what it gives. All are PostgreSQL's own, of pg_catalog. */
const FUNCTIONS: Readonly<Record<string, { args: readonly [number, number]; write(args: Args): SqlValue }>> = {
  now: { args: [0, 0], write: () => ({ sql: 'pg_catalog.now()', type: TIMESTAMP }) },
  current_date: { args: [0, 0], write: () => ({ sql: 'current_date', type: DATE }) },
  lower: textFunction('lower'),
  upper: textFunction('upper'),
  trim: textFunction('btrim'),
  length: {
    args: [1, 1],
    write: (args) => ({ sql: `pg_catalog.char_length(${sqlOf(args, 'text')})`, type: WHOLE }),
  },
  abs: numberFunction('abs'),
  ceil: numberFunction('ceil'),
  floor: numberFunction('floor'),
  round: {
    args: [1, 2],
    // With a number of digits there is no round() of double precision.
    write: (args) => ({
      sql: `pg_catalog.round((${sqlOf(args.slice(0, 1), 'number')})::numeric${args.length === 1 ? '' : `, (${sqlOf(args.slice(1), 'number')})::integer`})`,
      type: args.length === 1 ? wholeOf(args) : NUMERIC,
    }),
  },
  coalesce: choice('coalesce', 50),
  greatest: choice('greatest', 50),
  least: choice('least', 50),
  nullif: choice('nullif', 2),
}

function textFunction(name: string) {
  return {
    args: [1, 1] as const,
    write: (args: Args) => ({ sql: `pg_catalog.${name}(${sqlOf(args, 'text')})`, type: TEXT }),
  }
}

function numberFunction(name: string) {
  return {
    args: [1, 1] as const,
    write: (args: Args) => ({
      sql: `pg_catalog.${name}(${sqlOf(args, 'number')})`,
      type: name === 'abs' ? (args[0]?.type ?? NUMERIC) : wholeOf(args),
    }),
  }
}

/** NaN and infinity are not made whole. */
function wholeOf(args: Args): SqlType {
  return { ...WHOLE, isInexact: args.some(({ type }) => type.isInexact === true) }
}

/** One of several values of one type. */
function choice(name: string, most: number) {
  return {
    args: [2, most] as const,
    write: (args: Args): SqlValue => {
      // Of a date and a time PostgreSQL makes a time.
      const type =
        args.find(({ type: { family } }) => family === 'timestamp')?.type ??
        args.find(({ type: { family } }) => family !== 'unknown')?.type ??
        args.find(({ type: { isUndeclared } }) => isUndeclared)?.type ??
        UNKNOWN
      for (const arg of args) requireComparable(name, { type, sql: '' }, arg)
      return {
        sql: `${name}(${args.map(({ sql }) => sql).join(', ')})`,
        type: type.family === 'number' ? NUMERIC : type,
      }
    },
  }
}

function sqlOf(args: Args, family: SqlType['family']): string {
  for (const arg of args) requireFamily(arg, family, 'a function')
  return args.map(({ sql }) => sql).join(', ')
}

/** The SQL of an expression; throws MeaningError. Deterministic, and every operation within brackets. */
export function writeExpression(expression: Expression, scope: Scope): SqlValue {
  const write = (inner: Expression) => writeExpression(inner, scope)
  switch (expression.kind) {
    case 'text':
      requireStorable(expression.text)
      return { sql: quoteText(expression.text), type: UNKNOWN }
    case 'number':
      return writeNumber(expression.digits)
    case 'constant':
      return { sql: expression.name, type: expression.name === 'null' ? UNKNOWN : BOOLEAN }
    case 'interval':
      if (!/^\d{1,9} (second|minute|hour|day|week|month|year)s?$/.test(expression.text))
        throw new MeaningError(
          `INTERVAL '${expression.text.slice(0, 40)}': write a number and a unit, for instance '2 hours'`,
        )
      return { sql: `${quoteText(expression.text)}::pg_catalog.interval`, type: INTERVAL }
    case 'reference':
      return scope.reference(expression.root, expression.path)
    case 'column':
      return scope.column(expression.name)
    case 'call':
      return writeCall(expression.name, expression.args.map(write))
    case 'unary':
      return writeUnary(expression.operator, write(expression.operand))
    case 'binary':
      return writeBinary(expression.operator, write(expression.left), write(expression.right))
    case 'is':
      return writeIs(write(expression.operand), expression.test, expression.isNegated)
    case 'in':
      return writeIn(write(expression.operand), expression.items.map(write), expression.isNegated)
  }
}

function writeNumber(digits: string): SqlValue {
  const number = toJsonNumber(digits)
  if (number === null) throw new MeaningError(`the number ${digits.slice(0, 40)} has more digits than can be stored`)
  return { sql: number, type: /[.e]/.test(number) ? { ...NUMERIC, isInexact: false } : WHOLE }
}

function writeCall(name: string, args: Args): SqlValue {
  const known = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined
  if (known === undefined) {
    const names = Object.keys(FUNCTIONS)
    const similar = closestMatch(name, names)
    const hint = similar === undefined ? '.' : `; did you mean "${similar}"?`
    throw new MeaningError(`unknown function ${name.slice(0, 60)}()${hint} Functions: ${names.join(', ')}`)
  }
  const [least, most] = known.args
  if (args.length < least || args.length > most)
    throw new MeaningError(
      `${name}() takes ${least === most ? least : `${least} to ${most}`} values, found ${args.length}`,
    )
  return known.write(args)
}

function writeUnary(operator: '-' | 'not', operand: SqlValue): SqlValue {
  requireFamily(operand, operator === '-' ? 'number' : 'boolean', operator === '-' ? '-' : 'NOT')
  return { sql: `(${operator} ${operand.sql})`, type: operand.type }
}

function writeBinary(operator: BinaryOperator, left: SqlValue, right: SqlValue): SqlValue {
  const sql = `(${left.sql} ${operator} ${right.sql})`
  switch (operator) {
    case 'or':
    case 'and':
      for (const side of [left, right]) requireFamily(side, 'boolean', operator.toUpperCase())
      return { sql, type: BOOLEAN }
    case '||':
      // Beside a list or a jsonb it would add to that.
      if (
        ![left, right].some(({ type: { family } }) => family === 'text' || family === 'unknown') ||
        [left, right].some(({ type: { family } }) => family === 'array' || family === 'json')
      )
        throw new MeaningError(`|| joins texts, found ${left.type.sql} and ${right.type.sql}`)
      return { sql, type: TEXT }
    case '+':
    case '-':
      if (isTime(left) && right.type.family === 'interval') return { sql, type: TIMESTAMP }
      return { sql, type: arithmetic(operator, left, right) }
    case '*':
    case '/':
    case '%':
      return { sql, type: arithmetic(operator, left, right) }
    case '=':
    case '<>':
    case '<':
    case '<=':
    case '>':
    case '>=':
      requireComparable(operator, left, right)
      return { sql, type: BOOLEAN }
  }
}

function isTime({ type }: SqlValue): boolean {
  return type.family === 'timestamp' || type.family === 'date'
}

function arithmetic(operator: string, left: SqlValue, right: SqlValue): SqlType {
  for (const side of [left, right]) requireFamily(side, 'number', operator)
  const isInexact = left.type.isInexact === true || right.type.isInexact === true
  // Of whole numbers PostgreSQL's / is whole too.
  const isWhole = left.type.isWhole === true && right.type.isWhole === true
  return { sql: 'numeric', family: 'number', isWhole, isInexact }
}

function writeIs(operand: SqlValue, test: 'null' | 'true' | 'false', isNegated: boolean): SqlValue {
  if (test !== 'null') requireFamily(operand, 'boolean', `IS ${test.toUpperCase()}`)
  return { sql: `(${operand.sql} is ${isNegated ? 'not ' : ''}${test})`, type: BOOLEAN }
}

function writeIn(operand: SqlValue, items: Args, isNegated: boolean): SqlValue {
  if (items.length === 0) throw new MeaningError('IN needs at least one value between its brackets')
  for (const item of items) requireComparable('IN', operand, item)
  const list = items.map(({ sql }) => sql).join(', ')
  return { sql: `(${operand.sql} ${isNegated ? 'not ' : ''}in (${list}))`, type: BOOLEAN }
}

function requireFamily({ type }: SqlValue, family: SqlType['family'], what: string): void {
  if (type.family === family || type.family === 'unknown') return
  throw new MeaningError(`${what} takes a value of type ${family}, found ${type.sql}`)
}

function requireComparable(what: string, left: SqlValue, right: SqlValue): void {
  if (isComparable(left.type, right.type)) return
  throw new MeaningError(`${what}: ${left.type.sql} and ${right.type.sql} cannot go together`)
}

/** Escapes in a YAML text can make what PostgreSQL's text cannot hold. */
function requireStorable(text: string): void {
  if (text.includes('\u0000')) throw new MeaningError('a text holds a NUL character, which PostgreSQL cannot store')
  if (!text.isWellFormed()) throw new MeaningError('a text has a lone surrogate, which is not Unicode text')
}

/** A condition: true, false or null. */
export function requireCondition(value: SqlValue): SqlValue {
  requireFamily(value, 'boolean', 'a condition')
  return value
}

/** A value as that of a field or parameter of the type; throws MeaningError where PostgreSQL would refuse it or read it as another thing. */
export function assign(value: SqlValue, type: SqlType): string {
  if (isComparable(value.type, type)) {
    return value.type.family === type.family || value.type.family === 'unknown'
      ? value.sql
      : `(${value.sql})::${type.sql}`
  }
  if (value.isJsonString === true && ['uuid', 'date', 'timestamp'].includes(type.family))
    return `(${value.sql})::${type.sql}`
  throw new MeaningError(`a value of type ${value.type.sql} cannot become one of type ${type.sql}`)
}
