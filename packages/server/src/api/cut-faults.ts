import { z } from 'zod'

/**
 * The value without what lies behind the first `most` wrong elements of each array, of which the schema's first faults
 * are the same. zod makes an issue of every wrong element: a million of them, in seconds, of a body of 2 MiB.
 */
export function cutFaults(schema: z.ZodType, value: unknown, most: number): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (schema instanceof z.ZodUnion) {
    const option = chooseOption(schema, value)
    return option === schema ? value : cutFaults(option, value, most)
  }
  if (schema instanceof z.ZodArray) return Array.isArray(value) ? cutArray(schema, value, most) : value
  if (schema instanceof z.ZodObject) return cutFields(schema, value as Record<string, unknown>, most)
  // What may be absent, or has a default.
  return 'innerType' in schema.def ? cutFaults(schema.def.innerType as z.ZodType, value, most) : value
}

/** Of several shapes the one that shares most fields with the value: its faults are those that the caller wants to read of. */
export function chooseOption(schema: z.ZodType, value: unknown): z.ZodType {
  if (!(schema instanceof z.ZodUnion) || typeof value !== 'object' || value === null) return schema
  const options = schema.options.filter((option) => option instanceof z.ZodObject)
  const shared = options.map((option) => Object.keys(option.shape).filter((key) => Object.hasOwn(value, key)).length)
  return options[shared.indexOf(Math.max(...shared))] ?? schema
}

function cutArray(schema: z.ZodArray, items: readonly unknown[], most: number): readonly unknown[] {
  const element = schema.element as z.ZodType
  const maximum = maximumOf(schema)
  // zod looks into none that is too long. One that is not must not become too short.
  if (items.length > maximum) return items
  const mayCut = items.length > most && maximum === Infinity
  const kept: unknown[] = []
  let faults = 0
  for (const item of items) {
    const cut = cutFaults(element, item, most)
    kept.push(cut)
    if (mayCut && !element.safeParse(cut).success && ++faults === most) break
  }
  const isWhole = kept.length === items.length && kept.every((item, index) => item === items[index])
  return isWhole ? items : kept
}

function maximumOf({ def: { checks = [] } }: z.ZodArray): number {
  return Math.min(
    ...checks.map((check) => (check instanceof z.core.$ZodCheckMaxLength ? check._zod.def.maximum : Infinity)),
  )
}

function cutFields({ shape }: z.ZodObject, value: Record<string, unknown>, most: number): Record<string, unknown> {
  const cut = Object.entries(shape)
    .filter(([key]) => Object.hasOwn(value, key))
    .map(([key, schema]): [string, unknown] => [key, cutFaults(schema as z.ZodType, value[key], most)])
    .filter(([key, kept]) => kept !== value[key])
  return cut.length === 0 ? value : { ...value, ...Object.fromEntries(cut) }
}
