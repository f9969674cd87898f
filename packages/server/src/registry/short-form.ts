import { closestMatch } from '../platform/text/closest-match.ts'

export type JsonSchema = Record<string, unknown>

const WORDS = {
  string: { type: 'string' },
  number: { type: 'number' },
  integer: { type: 'integer' },
  boolean: { type: 'boolean' },
  object: { type: 'object' },
  array: { type: 'array' },
  null: { type: 'null' },
  any: {},
} as const satisfies Record<string, JsonSchema>
const FIELD = /^([a-z]+)((?:\[\])*)(\?)?$/

/** Every keyword of JSON Schema 2020-12; a mapping of nothing else is a schema, one with other keys a short form. */
const KEYWORDS = new Set(
  `$schema $id $ref $anchor $dynamicRef $dynamicAnchor $vocabulary $comment $defs allOf anyOf oneOf not if then else
   dependentSchemas prefixItems items contains properties patternProperties additionalProperties propertyNames
   unevaluatedItems unevaluatedProperties type enum const multipleOf maximum exclusiveMaximum minimum exclusiveMinimum
   maxLength minLength pattern maxItems minItems uniqueItems maxContains minContains maxProperties minProperties required
   dependentRequired title description default deprecated readOnly writeOnly examples format contentEncoding
   contentMediaType contentSchema`.split(/\s+/),
)

/** Thrown for a word that is no type, with the keys that lead to it. */
export class ShortFormError extends Error {
  readonly path: readonly string[]

  constructor(path: readonly string[], message: string) {
    super(message)
    this.path = path
  }
}

/**
 * The JSON Schema of a full schema (itself) or of a short form: `{amount: number, note: string?, tags: string[]}` is an
 * object with these fields, required but for those with "?". `isClosed` refuses fields that are not listed.
 */
export function toJsonSchema(definition: JsonSchema, isClosed: boolean, path: readonly string[] = []): JsonSchema {
  if (Object.keys(definition).length === 0 || isFullSchema(definition)) return definition
  const properties: Record<string, JsonSchema> = {}
  const required: string[] = []
  for (const [key, value] of Object.entries(definition)) {
    const { schema, isOptional } = readField(value, isClosed, [...path, key])
    properties[key] = schema
    if (!isOptional) required.push(key)
  }
  return { type: 'object', properties, required, ...(isClosed ? { additionalProperties: false } : {}) }
}

function readField(
  value: unknown,
  isClosed: boolean,
  path: readonly string[],
): { schema: JsonSchema; isOptional: boolean } {
  if (typeof value === 'object' && value !== null && !Array.isArray(value))
    return { schema: toJsonSchema(value as JsonSchema, isClosed, path), isOptional: false }
  const [, word = '', lists = '', mark] = (typeof value === 'string' && FIELD.exec(value)) || []
  if (!Object.hasOwn(WORDS, word)) throw new ShortFormError(path, explainWord(value))
  let schema: JsonSchema = { ...WORDS[word as keyof typeof WORDS] }
  for (let depth = 0; depth < lists.length; depth += 2) schema = { type: 'array', items: schema }
  return { schema, isOptional: mark !== undefined }
}

function explainWord(value: unknown): string {
  const known = Object.keys(WORDS)
  const similar = typeof value === 'string' ? closestMatch(value, known) : undefined
  const hint = similar === undefined ? '' : `; did you mean "${similar}"?`
  return `is neither a JSON Schema nor a type of the short form${hint} Types: ${known.join(', ')}, each with [] for a list and ? for optional`
}

function isFullSchema(definition: JsonSchema): boolean {
  const keys = Object.keys(definition)
  if (!keys.every((key) => KEYWORDS.has(key))) {
    // `type: object` beside an unknown keyword is a schema with a slip, which its own check names.
    return (
      definition['type'] === 'object' && ['properties', 'required', '$defs'].some((key) => isShaped(definition, key))
    )
  }
  return keys.some((key) => isShaped(definition, key))
}

/** Whether a keyword's value can be one: `{type: string}` is a schema, `{properties: string}` a field called properties. */
function isShaped(definition: JsonSchema, key: string): boolean {
  const value = definition[key]
  if (key === 'type')
    return Array.isArray(value) || (typeof value === 'string' && value !== 'any' && Object.hasOwn(WORDS, value))
  if (key === 'const') return true
  if (['allOf', 'anyOf', 'oneOf', 'enum', 'required', 'prefixItems'].includes(key)) return Array.isArray(value)
  if (['properties', 'patternProperties', '$defs', 'items', 'not', 'if', 'additionalProperties'].includes(key))
    return (typeof value === 'object' && value !== null && !Array.isArray(value)) || typeof value === 'boolean'
  return key === '$ref' || key === '$schema'
}
