import vm from 'node:vm'
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import { fullFormats } from 'ajv-formats/dist/formats.js'
import { MAX_JSON_DEPTH, measureDepth } from '../domain/check-result-json.ts'
import { canonicalJson } from '../platform/text/canonical-json.ts'
import { compileLinearPattern } from './linear-pattern.ts'
import { type JsonSchema, ShortFormError, toJsonSchema } from './short-form.ts'

/** What is wrong with a value: a JSON pointer to the place and words. */
export interface SchemaMismatch {
  pointer: string
  message: string
}

/** A compiled schema of an operation. */
export interface OperationSchema {
  /** JSON Schema 2020-12, the short form written out. */
  readonly schema: JsonSchema
  /** Checks JSON text, null being `{}`, in bounded time, whatever the text and the schema. */
  check(json: string | null): SchemaMismatch | null
}

/** Thrown when a schema cannot be used, with the keys below the schema that lead to the place, as far as they are known. */
export class OperationSchemaError extends Error {
  readonly path: readonly string[]

  constructor(path: readonly string[], message: string) {
    super(message)
    this.path = path
  }
}

/**
 * A schema without references is a tree, so that its time is bounded by its size, the value's and the patterns'. One
 * with references can repeat itself without end, so it is checked against a clock, which costs 0.7 ms (a watchdog thread).
 */
const WATCHED_MS = 2_000
/** Characters times steps of their patterns, in one check: some 8 ns each, so a second at the most. */
const MAX_PATTERN_STEPS = 100_000_000
const MAX_MESSAGE = 500
/** Formats that are checked; the others are refused when the registry is read, since nothing would check them. */
const FORMATS = [
  'date',
  'time',
  'date-time',
  'uuid',
  'email',
  'ipv4',
  'ipv6',
  'uri',
  'uri-reference',
  'json-pointer',
  'byte',
] as const

/** What the check that runs has left; checks are synchronous, so there is one at a time. */
let patternStepsLeft = 0
const ajv = createAjv()

/** Compiles the schema of an operation's input (closed: the short form refuses fields it does not list) or output. */
export function compileOperationSchema(definition: JsonSchema, isClosed: boolean): OperationSchema {
  const schema = writeOut(definition, isClosed)
  if (Object.keys(schema).length === 0) return { schema, check: checkDepth }
  const { type } = schema
  if (type !== undefined && type !== 'object' && !(Array.isArray(type) && type.includes('object')))
    throw new OperationSchemaError(['type'], 'must be "object" or absent: input and output of an operation are objects')
  const validate = compile(schema)
  // Whatever a reference repeats is not seen in the size of the schema.
  const isRecursive = JSON.stringify(schema).includes('"$')
  return {
    schema,
    check(json) {
      const text = json ?? '{}'
      const tooDeep = checkDepth(text)
      if (tooDeep !== null) return tooDeep
      const value: unknown = JSON.parse(text)
      patternStepsLeft = MAX_PATTERN_STEPS
      try {
        return (isRecursive ? runWatched(() => validate(value)) : validate(value)) ? null : describe(validate)
      } catch (error) {
        if (error instanceof PatternBudgetError) return { pointer: '', message: error.message }
        if (isTimeout(error) || error instanceof RangeError)
          return { pointer: '', message: `cannot be checked against its recursive schema within ${WATCHED_MS} ms` }
        throw error
      }
    },
  }
}

/** The same, compiled at its first use: compiling takes some 4 ms, and a worker must not stand still for hundreds of them. */
export function deferOperationSchema(definition: JsonSchema, isClosed: boolean): OperationSchema {
  let compiled: OperationSchema | null = null
  const compileOnce = (): OperationSchema => (compiled ??= compileOperationSchema(definition, isClosed))
  return {
    get schema() {
      return compileOnce().schema
    },
    check: (json) => compileOnce().check(json),
  }
}

function checkDepth(json: string | null): SchemaMismatch | null {
  const depth = json === null ? 0 : measureDepth(json)
  return depth <= MAX_JSON_DEPTH
    ? null
    : { pointer: '', message: `is nested ${depth} levels deep; at most ${MAX_JSON_DEPTH} are read` }
}

function writeOut(definition: JsonSchema, isClosed: boolean): JsonSchema {
  try {
    return toJsonSchema(definition, isClosed)
  } catch (error) {
    if (error instanceof ShortFormError) throw new OperationSchemaError(error.path, error.message)
    throw error
  }
}

function compile(schema: JsonSchema): ValidateFunction {
  try {
    return ajv.compile(schema)
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error)
    // "schema is invalid: data/properties/a/type must be …" names the place.
    const place = /schema is invalid: data(\/\S*)? /.exec(text)
    const path = place?.[1]?.split('/').slice(1).map(unescapePointer) ?? []
    throw new OperationSchemaError(path, text.replace(/^schema is invalid: data\S* /, '').slice(0, MAX_MESSAGE))
  } finally {
    // Or each reload would leak the schemas of the last.
    ajv.removeSchema(schema)
  }
}

function createAjv(): Ajv2020 {
  const instance = new Ajv2020({
    strict: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    allowUnionTypes: true,
    ownProperties: true,
    logger: false,
    code: {
      regExp: Object.assign((pattern: string) => compileBudgeted(pattern), { code: 'compileBudgeted' }),
    },
  })
  for (const name of FORMATS) {
    const format = fullFormats[name]
    instance.addFormat(name, format instanceof RegExp ? { validate: linearTest(format) } : format)
  }
  // ajv compares every item with every other: 350 000 items of a 1 MiB array would take hours.
  instance.removeKeyword('uniqueItems')
  instance.addKeyword({
    keyword: 'uniqueItems',
    type: 'array',
    schemaType: 'boolean',
    validate: (isAsked: boolean, items: unknown[]) =>
      !isAsked || new Set(items.map(canonicalJson)).size === items.length,
    error: { message: 'must not have two equal items' },
  })
  return instance
}

class PatternBudgetError extends Error {}

/** A pattern whose every test is paid from the budget of the check that runs. */
function compileBudgeted(
  source: string,
  isCaseInsensitive = false,
): { test(text: string): boolean; toString(): string } {
  const pattern = compileLinearPattern(source, isCaseInsensitive)
  return {
    test(text) {
      patternStepsLeft -= text.length * pattern.programSize
      if (patternStepsLeft >= 0) return pattern.test(text)
      throw new PatternBudgetError(
        `is too long for the pattern ${JSON.stringify(source.slice(0, 100))}: ${text.length} characters`,
      )
    },
    toString: () => source,
  }
}

function linearTest(format: RegExp): (text: string) => boolean {
  const pattern = compileBudgeted(format.source, format.flags.includes('i'))
  return (text) => pattern.test(text)
}

const watched: { work: (() => boolean) | null } = { work: null }
const watchedContext = vm.createContext({ watched })
const watchedScript = new vm.Script('watched.work()')

/** Runs synchronous work and ends it after the time-out, wherever it is: the only way to stop a loop in one's own thread. */
function runWatched(work: () => boolean): boolean {
  watched.work = work
  try {
    return watchedScript.runInContext(watchedContext, { timeout: WATCHED_MS }) === true
  } finally {
    watched.work = null
  }
}

function isTimeout(error: unknown): boolean {
  // It comes from the script's own context, so it is no Error of ours.
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 'ERR_SCRIPT_EXECUTION_TIMEOUT'
}

function describe({ errors }: ValidateFunction): SchemaMismatch {
  const error = errors?.[0]
  if (error === undefined) return { pointer: '', message: 'does not match the schema' }
  const { instancePath, message = 'does not match the schema', params } = error
  // ajv says what is wrong but not always with which key or which values are right.
  const detail = Object.entries(params as Record<string, unknown>)
    .filter(([key]) =>
      ['additionalProperty', 'unevaluatedProperty', 'allowedValues', 'allowedValue', 'propertyName'].includes(key),
    )
    .map(([, value]) => JSON.stringify(value))
  const text = detail.length === 0 ? message : `${message}: ${detail.join(', ')}`
  return { pointer: instancePath.slice(0, MAX_MESSAGE), message: text.slice(0, MAX_MESSAGE) }
}

function unescapePointer(key: string): string {
  return decodeURIComponent(key).replaceAll('~1', '/').replaceAll('~0', '~')
}
