import { closestMatch } from '../../platform/text/closest-match.ts'
import type { FaultReport } from '../../registry/fault-report.ts'
import { compileOperationSchema, type OperationSchema, OperationSchemaError } from '../../registry/operation-schema.ts'
import type { JsonSchema } from '../../registry/short-form.ts'
import type { SqlValue } from '../expression/write-expression.ts'
import { toJsonNumber } from '../json-number.ts'
import { quoteJson, quoteText } from '../sql-literal.ts'
import type { RuntimeCheck } from './plan.ts'
import { type InputEntry, type InputValue, jsonOf } from './read-input.ts'

/** Keywords whose meaning depends on the whole value: the worker's own check judges them. */
const JUDGED_BY_WORKER = ['$ref', '$dynamicRef', 'anyOf', 'oneOf', 'allOf', 'not', 'if']

/** The JSON types that a value of each family becomes. */
const JSON_TYPES = {
  text: ['string'],
  uuid: ['string'],
  date: ['string'],
  timestamp: ['string'],
  interval: ['string'],
  number: ['number'],
  boolean: ['boolean'],
  array: ['array'],
  json: null,
  unknown: null,
} as const satisfies Record<SqlValue['type']['family'], readonly string[] | null>

/** Compares an input with the operation's schema: what is known now is told now, what is not becomes checks of the function. */
export class InputCheck {
  readonly checks: RuntimeCheck[] = []
  readonly #operation: string
  readonly #report: FaultReport

  constructor(operation: string, report: FaultReport) {
    this.#operation = operation
    this.#report = report
  }

  /** `pointer` is the JSON pointer of the value; `takesNull` says that the value is left out where it is null. */
  check(value: InputValue, schema: JsonSchema, pointer = '', takesNull = false): void {
    const json = jsonOf(value)
    if (json !== null) return this.#checkLiteral(value, json, schema, pointer)
    if (JUDGED_BY_WORKER.some((keyword) => Object.hasOwn(schema, keyword))) return
    if (value.kind === 'value') return this.#checkReference(value, schema, pointer, takesNull)
    const type = value.kind === 'list' ? 'array' : 'object'
    if (!typesOf(schema)?.includes(type) && typesOf(schema) !== null)
      return this.#report.fault(
        value.at,
        this.#message(pointer, `must be ${typesOf(schema)?.join(' or ')}, found ${type}`),
      )
    if (value.kind === 'list') {
      const items = schemaAt(schema, 'items')
      if (items === null || Object.hasOwn(schema, 'prefixItems')) return
      for (const [index, item] of value.items.entries()) this.check(item, items, `${pointer}/${index}`)
    } else if (value.kind === 'object') this.#checkObject(value, schema, pointer)
  }

  #checkObject({ entries, at }: Extract<InputValue, { kind: 'object' }>, schema: JsonSchema, pointer: string): void {
    const properties = schemaAt(schema, 'properties') ?? {}
    const required = Array.isArray(schema['required']) ? schema['required'].map(String) : []
    const missing = required.filter((key) => !entries.some((entry) => entry.key === key))
    if (missing.length > 0) this.#report.fault(at, this.#message(pointer, `lacks ${missing.join(', ')}`))
    for (const entry of entries) {
      const inner = schemaAt(properties, entry.key)
      if (inner !== null) {
        entry.isLeftOutWhenNull = isLeftOutWhenNull(entry, inner, required)
        this.check(entry.value, inner, `${pointer}/${escapePointer(entry.key)}`, entry.isLeftOutWhenNull)
      } else if (schema['additionalProperties'] === false && !Object.hasOwn(schema, 'patternProperties')) {
        const similar = closestMatch(entry.key, Object.keys(properties))
        const hint = similar === undefined ? '' : `; did you mean "${similar}"?`
        this.#report.fault(
          entry.at,
          this.#message(
            pointer,
            `has no "${entry.key.slice(0, 60)}"${hint} Known: ${Object.keys(properties).join(', ')}`,
          ),
        )
      }
    }
  }

  #checkLiteral({ at }: InputValue, json: string, schema: JsonSchema, pointer: string): void {
    const mismatch = compileOnce(schema)?.check(`{"value":${json}}`) ?? null
    if (mismatch === null) return
    const place = `${pointer}${mismatch.pointer.replace(/^\/value/, '')}`
    this.#report.fault(at, this.#message(place, mismatch.message))
  }

  #checkReference(
    { value, at }: Extract<InputValue, { kind: 'value' }>,
    schema: JsonSchema,
    pointer: string,
    takesNull: boolean,
  ): void {
    const wanted = typesOf(schema)
    const given = JSON_TYPES[value.type.family]
    if (
      wanted !== null &&
      given !== null &&
      !given.some((type) => wanted.includes(type) || (type === 'number' && wanted.includes('integer')))
    ) {
      this.#report.fault(
        at,
        this.#message(pointer, `must be ${wanted.join(' or ')}, found a value of type ${value.type.sql}`),
      )
      return
    }
    const rules = rulesOf(value, schema, takesNull)
    if (rules.length === 0) return
    this.checks.push({
      violation: rules.map(({ violation }) => violation).join(' or '),
      message: this.#message(pointer, `must be ${rules.map(({ words }) => words).join(', ')}`),
      found: value.sql,
    })
  }

  #message(pointer: string, words: string): string {
    return `input of ${this.#operation}: ${pointer === '' ? 'it' : pointer} ${words}`
  }
}

interface Rule {
  violation: string
  words: string
}

/** What is asked of a value that only the running function knows. */
function rulesOf({ sql, type }: SqlValue, schema: JsonSchema, takesNull: boolean): Rule[] {
  const wanted = typesOf(schema)
  const rules: Rule[] = []
  const typeOfValue = `pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(${sql}))`
  if (wanted !== null && !wanted.includes('null') && !takesNull)
    rules.push({ violation: `${sql} is null`, words: 'there' })
  if (wanted !== null && needsTypeCheck(type)) {
    const names = [...new Set(wanted.map((name) => (name === 'integer' ? 'number' : name)))]
    rules.push({ violation: `${typeOfValue} not in (${names.map(quoteText).join(', ')})`, words: wanted.join(' or ') })
  }
  if (wanted?.includes('integer') === true && !wanted.includes('number') && type.isWhole !== true) {
    // In brackets, or PL/pgSQL takes this THEN for its own. to_jsonb: of a value of any type, one that is no number is another rule's.
    const number = `(pg_catalog.to_jsonb(${sql}) #>> '{}')::pg_catalog.numeric`
    const isFraction = `${number} <> pg_catalog.trunc(${number})`
    rules.push({
      violation: `(case when ${typeOfValue} = 'number' then ${isFraction} else false end)`,
      words: 'without a fraction',
    })
  }
  if (type.family === 'number') rules.push(...boundsOf(sql, schema))
  if (type.family === 'text') rules.push(...lengthsOf(sql, schema))
  const allowed = Array.isArray(schema['enum'])
    ? schema['enum']
    : Object.hasOwn(schema, 'const')
      ? [schema['const']]
      : null
  if (allowed !== null && allowed.length > 0) {
    const values = allowed.map((value) => JSON.stringify(value))
    rules.push({
      violation: `pg_catalog.to_jsonb(${sql}) not in (${values.map(quoteJson).join(', ')})`,
      words: `one of ${values.join(', ').slice(0, 200)}`,
    })
  }
  return rules
}

/** What the declared type does not say already: NaN is a numeric, and a jsonb may be anything. */
function needsTypeCheck({ family, isInexact }: SqlValue['type']): boolean {
  return family === 'json' || family === 'unknown' || (family === 'number' && isInexact === true)
}

const BOUNDS = {
  minimum: ['<', 'at least'],
  exclusiveMinimum: ['<=', 'more than'],
  maximum: ['>', 'at most'],
  exclusiveMaximum: ['>=', 'less than'],
} as const

function boundsOf(sql: string, schema: JsonSchema): Rule[] {
  return Object.entries(BOUNDS).flatMap(([keyword, [operator, words]]) => {
    const bound = schema[keyword]
    const number = typeof bound === 'number' ? toJsonNumber(String(bound)) : null
    return number === null ? [] : [{ violation: `${sql} ${operator} (${number})`, words: `${words} ${number}` }]
  })
}

function lengthsOf(sql: string, schema: JsonSchema): Rule[] {
  const length = `pg_catalog.char_length(${sql})`
  const { minLength, maxLength } = schema
  return [
    ...(typeof minLength === 'number'
      ? [{ violation: `${length} < ${Math.ceil(minLength)}`, words: `at least ${minLength} characters long` }]
      : []),
    ...(typeof maxLength === 'number'
      ? [{ violation: `${length} > ${Math.floor(maxLength)}`, words: `at most ${maxLength} characters long` }]
      : []),
  ]
}

function isLeftOutWhenNull({ key, value }: InputEntry, schema: JsonSchema, required: readonly string[]): boolean {
  const wanted = typesOf(schema)
  return value.kind === 'value' && !required.includes(key) && wanted !== null && !wanted.includes('null')
}

/** The types that a schema names; null where it takes any. */
function typesOf({ type }: JsonSchema): string[] | null {
  if (typeof type === 'string') return [type]
  return Array.isArray(type) ? type.map(String) : null
}

function schemaAt(value: JsonSchema, key: string): JsonSchema | null {
  const inner = Object.hasOwn(value, key) ? value[key] : undefined
  return typeof inner === 'object' && inner !== null && !Array.isArray(inner) ? (inner as JsonSchema) : null
}

function escapePointer(key: string): string {
  return key.slice(0, 60).replaceAll('~', '~0').replaceAll('/', '~1')
}

const compiled = new WeakMap<JsonSchema, { schema: OperationSchema | null }>()

/** A part of a schema as a schema of its own, compiled once; null where it needs the rest of it. */
function compileOnce(part: JsonSchema): OperationSchema | null {
  let known = compiled.get(part)
  if (known === undefined) {
    try {
      known = { schema: compileOperationSchema({ type: 'object', properties: { value: part } }, false) }
    } catch (error) {
      if (!(error instanceof OperationSchemaError)) throw error
      known = { schema: null }
    }
    compiled.set(part, known)
  }
  return known.schema
}
