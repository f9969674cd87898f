import type { z } from 'zod'
import { chooseOption, cutFaults } from './cut-faults.ts'
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
  const parsed = chosen.safeParse(cutFaults(chosen, value ?? {}, MAX_PLACES))
  const name = PARTS[part] ?? part
  if (!parsed.success) {
    const places = parsed.error.issues.slice(0, MAX_PLACES).map(({ path, message }) => ({
      pointer: pointerOf(path),
      message: message.slice(0, 300),
    }))
    throw new RequestError('REQUEST_INVALID', summary(name, places), places)
  }
  if (part === 'body' || part === 'querystring') {
    const places = unknownFields(value, parsed.data).map((path) => ({
      pointer: pointerOf(path),
      message: 'there is no such field',
    }))
    if (places.length > 0) throw new RequestError('REQUEST_INVALID', summary(name, places), places)
  }
  return parsed.data
}

/** Paths of what was given and is not in what the schema made of it, the first of them. */
function unknownFields(given: unknown, known: unknown, path: readonly PropertyKey[] = [], found: PropertyKey[][] = []) {
  if (given === known || typeof given !== 'object' || given === null || typeof known !== 'object' || known === null)
    return found
  if (Array.isArray(given) !== Array.isArray(known)) return found
  // A loop over the object itself would also go through what it inherits.
  for (const key of Array.isArray(given) ? given.keys() : Object.keys(given)) {
    if (found.length === MAX_PLACES) break
    const at = [...path, key]
    if (!Object.hasOwn(known, key)) found.push(at)
    else unknownFields(Reflect.get(given, key), Reflect.get(known, key), at, found)
  }
  return found
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
