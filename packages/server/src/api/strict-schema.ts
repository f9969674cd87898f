import { z } from 'zod'
import { RequestError } from './problem.ts'

const MAX_PLACES = 20
const PARTS: Readonly<Record<string, string>> = {
  body: 'body',
  querystring: 'query',
  params: 'path',
  headers: 'header',
}

/**
 * Checks a part of a request: what does not fit is refused with its place, and so is a field that the schema does not
 * know, since it is most often a misspelt one. (Stored payloads are read tolerantly; this is for what comes in.)
 */
export function checkPart(schema: z.ZodType, part: string, value: unknown): unknown {
  const chosen = chooseOption(schema, value)
  const parsed = chosen.safeParse(value ?? {})
  const name = PARTS[part] ?? part
  if (!parsed.success) {
    const places = parsed.error.issues.slice(0, MAX_PLACES).map(({ path, message }) => ({
      pointer: pointerOf(path),
      message: message.slice(0, 300),
    }))
    throw new RequestError('REQUEST_INVALID', summary(name, places), places)
  }
  if (part === 'body' || part === 'querystring') {
    const places = unknownFields(value, parsed.data, [])
      .slice(0, MAX_PLACES)
      .map((path) => ({ pointer: pointerOf(path), message: 'there is no such field' }))
    if (places.length > 0) throw new RequestError('REQUEST_INVALID', summary(name, places), places)
  }
  return parsed.data
}

/** Of several shapes the one that shares most fields with the value: its faults are those that the caller wants to read of. */
function chooseOption(schema: z.ZodType, value: unknown): z.ZodType {
  if (!(schema instanceof z.ZodUnion) || typeof value !== 'object' || value === null) return schema
  const options = schema.options.filter((option) => option instanceof z.ZodObject)
  const shared = options.map((option) => Object.keys(value).filter((key) => Object.hasOwn(option.shape, key)).length)
  return options[shared.indexOf(Math.max(...shared))] ?? schema
}

/** Paths of what was given and is not in what the schema made of it. */
function unknownFields(given: unknown, known: unknown, path: readonly PropertyKey[]): PropertyKey[][] {
  if (given === known || typeof given !== 'object' || given === null || typeof known !== 'object' || known === null)
    return []
  if (Array.isArray(given))
    return given.flatMap((item, index) =>
      unknownFields(item, Array.isArray(known) ? known[index] : undefined, [...path, index]),
    )
  return Object.entries(given).flatMap(([key, value]) =>
    Object.hasOwn(known, key)
      ? unknownFields(value, (known as Record<string, unknown>)[key], [...path, key])
      : [[...path, key]],
  )
}

function pointerOf(path: readonly PropertyKey[]): string {
  return path
    .slice(0, 20)
    .map((part) => `/${String(part).slice(0, 100).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
}

function summary(part: string, places: readonly { pointer: string; message: string }[]): string {
  const [first] = places
  const more = places.length > 1 ? ` (and ${places.length - 1} more, see errors)` : ''
  return `${part}${first?.pointer ?? ''}: ${first?.message ?? 'does not fit'}${more}`
}
