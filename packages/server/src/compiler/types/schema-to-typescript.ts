import type { JsonSchema } from '../../registry/short-form.ts'

/** Deeper, a type helps nobody; what is below is `unknown`. */
const MAX_DEPTH = 20

/** A TypeScript type of the values that a JSON Schema takes; `unknown` where the schema says what no type can. */
export function schemaToTypeScript(schema: unknown, indent = '', depth = 0): string {
  if (typeof schema !== 'object' || schema === null || Array.isArray(schema) || depth > MAX_DEPTH) return 'unknown'
  const rules = schema as JsonSchema
  if (Object.hasOwn(rules, 'const')) return literal(rules['const'])
  if (Array.isArray(rules['enum'])) return union(rules['enum'].map(literal))
  for (const keyword of ['anyOf', 'oneOf']) {
    const choices = rules[keyword]
    if (Array.isArray(choices)) return union(choices.map((choice) => schemaToTypeScript(choice, indent, depth + 1)))
  }
  const { type } = rules
  const types = Array.isArray(type) ? type.map(String) : typeof type === 'string' ? [type] : impliedTypes(rules)
  return union(types.map((each) => ofType(each, rules, indent, depth)))
}

function impliedTypes(rules: JsonSchema): string[] {
  return Object.hasOwn(rules, 'properties') ? ['object'] : ['unknown']
}

function ofType(type: string, rules: JsonSchema, indent: string, depth: number): string {
  switch (type) {
    case 'string':
    case 'boolean':
    case 'null':
    case 'number':
      return type
    case 'integer':
      return 'number'
    case 'array':
      return `(${schemaToTypeScript(rules['items'], indent, depth + 1)})[]`
    case 'object':
      return objectType(rules, indent, depth)
    default:
      return 'unknown'
  }
}

function objectType(rules: JsonSchema, indent: string, depth: number): string {
  const properties = rules['properties']
  const named = typeof properties === 'object' && properties !== null ? Object.entries(properties) : []
  if (named.length === 0)
    return rules['additionalProperties'] === false ? 'Record<string, never>' : 'Record<string, unknown>'
  const required = new Set(Array.isArray(rules['required']) ? rules['required'] : [])
  const inner = `${indent}  `
  const lines = named.map(
    ([name, each]) =>
      `${inner}${propertyName(name)}${required.has(name) ? '' : '?'}: ${schemaToTypeScript(each, inner, depth + 1)}`,
  )
  return `{\n${lines.join('\n')}\n${indent}}`
}

function union(types: readonly string[]): string {
  const distinct = [...new Set(types)]
  if (distinct.length === 0) return 'never'
  return distinct.includes('unknown') ? 'unknown' : distinct.join(' | ')
}

function literal(value: unknown): string {
  return value === null || ['string', 'number', 'boolean'].includes(typeof value) ? JSON.stringify(value) : 'unknown'
}

/** Quoted unless it is plainly a name. JSON's escapes are TypeScript's. */
export function propertyName(name: string): string {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) ? name : JSON.stringify(name)
}
