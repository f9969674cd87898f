import type { z } from 'zod'

/** One of several answers of a route, with what it means; `.describe` would make another, nameless schema of a named one. */
export function answer<Schema extends z.ZodType>(schema: Schema, description: string) {
  return { description, content: { 'application/json': { schema } } }
}
