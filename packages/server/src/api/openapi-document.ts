/** An OpenAPI document as far as it is looked into here. */
export interface OpenApiDocument {
  paths: Record<string, Record<string, { responses: Record<string, { content?: unknown }> }>>
  components: { schemas: Record<string, unknown> }
}

const SCHEMAS = '#/components/schemas/'
/** What the library calls a named schema as requests have it. */
const INPUT = /Input$/

/**
 * The document without what its makers leave lying about: named schemas that nothing refers to (each is there for requests
 * and for answers), the suffix of those that only requests have, bodies of answers that have none.
 */
export function tidyDocument(document: OpenApiDocument): OpenApiDocument {
  for (const operations of Object.values(document.paths))
    for (const { responses } of Object.values(operations)) delete responses['304']?.content
  const used = schemasUsed(document)
  const nameOf = (name: string) => {
    const plain = name.replace(INPUT, '')
    return used.has(plain) ? name : plain
  }
  const { schemas } = document.components
  const kept = Object.entries(schemas)
    .filter(([name]) => used.has(name))
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, schema]): [string, unknown] => [nameOf(name), schema])
  const named: Record<string, unknown> = Object.fromEntries(kept)
  const tidied = { ...document, components: { ...document.components, schemas: named } }
  return JSON.parse(JSON.stringify(tidied), (key, value: unknown) =>
    key === '$ref' && typeof value === 'string' && value.startsWith(SCHEMAS)
      ? SCHEMAS + nameOf(value.slice(SCHEMAS.length))
      : value,
  ) as OpenApiDocument
}

/** The named schemas that paths refer to, and those that these refer to. */
function schemasUsed({ paths, components }: OpenApiDocument): ReadonlySet<string> {
  const used = new Set<string>()
  const visit = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) return
    for (const [key, item] of Object.entries(value)) {
      if (key !== '$ref' || typeof item !== 'string' || !item.startsWith(SCHEMAS)) visit(item)
      else if (!used.has(item.slice(SCHEMAS.length))) {
        used.add(item.slice(SCHEMAS.length))
        visit(components.schemas[item.slice(SCHEMAS.length)])
      }
    }
  }
  visit(paths)
  return used
}
