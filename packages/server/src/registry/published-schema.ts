import { z } from 'zod'
import { REGISTRY_EXECUTION_TYPES, SERVICE_SCHEMAS } from './schema/service.ts'

/** The JSON Schema of a registry file, made of the schemas that check it. */
export function publishRegistrySchema(): Record<string, unknown> {
  const definitions = Object.fromEntries(
    REGISTRY_EXECUTION_TYPES.map((type) => [`${type}_service`, definitionOf(type)]),
  )
  // A section's service lies over one of the base, so it need not be whole: only its name is sure.
  const overlay = { type: 'object', required: ['name'], properties: { name: { type: 'string' } } }
  const section = {
    type: 'object',
    properties: { services: { type: 'array', items: overlay } },
    additionalProperties: false,
  }
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'Ergon service registry',
    type: 'object',
    properties: {
      services: { type: 'array', items: serviceByType() },
      development: section,
      staging: section,
      production: section,
    },
    additionalProperties: false,
    $defs: definitions,
  }
}

function definitionOf(type: keyof typeof SERVICE_SCHEMAS): unknown {
  const { $schema: _draft, ...schema } = z.toJSONSchema(SERVICE_SCHEMAS[type], { io: 'input' })
  // In a file the type's case does not count; `serviceByType` has looked at it already.
  const properties = { ...schema.properties, execution_type: { type: 'string' } }
  return { ...schema, properties }
}

/** if/then, so that an editor complains of the one field that is wrong and not of five types that none fits. */
function serviceByType(): unknown {
  const byType = REGISTRY_EXECUTION_TYPES.map((type) => ({
    if: {
      properties: { execution_type: { type: 'string', pattern: `^${anyCase(type)}$` } },
      ...(type === 'http' ? {} : { required: ['execution_type'] }),
    },
    // oxlint-disable-next-line unicorn/no-thenable -- the keyword of JSON Schema; nobody awaits a schema
    then: { $ref: `#/$defs/${type}_service` },
  }))
  const names = REGISTRY_EXECUTION_TYPES.flatMap((type) => [type, type.toUpperCase()])
  return {
    type: 'object',
    properties: {
      execution_type: {
        anyOf: [{ enum: names }, { pattern: `^(${REGISTRY_EXECUTION_TYPES.map(anyCase).join('|')})$` }],
      },
    },
    allOf: byType,
  }
}

function anyCase(word: string): string {
  return word.replace(/[a-z]/g, (letter) => `[${letter}${letter.toUpperCase()}]`)
}
