import type { Located, LocatedEntry } from '../platform/yaml/located-yaml.ts'

/** The services of the base with those of a profile's section laid over them, by name; names without a base are added. */
export function overlayServices(base: readonly Located[], section: readonly Located[]): Located[] {
  return overlayByName(base, section, overlayService)
}

function overlayService(base: Located, section: Located): Located {
  if (base.kind !== 'map' || section.kind !== 'map') return section
  const isOtherType = typeOf(section) !== null && typeOf(section) !== typeOf(base)
  const entries = new Map(base.entries)
  for (const [key, entry] of section.entries) {
    const before = entries.get(key)
    // Another type's configuration means nothing to this one.
    const isReplaced = before === undefined || (isOtherType && (key === 'runner_config' || key === 'security_policy'))
    entries.set(key, isReplaced ? entry : mergeEntry(before, entry, key === 'operations'))
  }
  return { kind: 'map', entries, at: section.at }
}

/** Maps are merged key by key, operations by their names; every other value of the section takes the base's place. */
function mergeEntry(base: LocatedEntry, section: LocatedEntry, areOperations: boolean): LocatedEntry {
  const { keyAt, value } = section
  if (areOperations && base.value.kind === 'list' && value.kind === 'list') {
    const items = overlayByName(
      base.value.items,
      value.items,
      (a, b) => mergeEntry({ keyAt, value: a }, { keyAt, value: b }, false).value,
    )
    return { keyAt, value: { ...value, items } }
  }
  if (base.value.kind !== 'map' || value.kind !== 'map') return section
  const entries = new Map(base.value.entries)
  for (const [key, entry] of value.entries) {
    const before = entries.get(key)
    // A schema is one value: half of an old one and half of a new one is neither.
    const isWhole = before === undefined || key === 'input_schema' || key === 'output_schema'
    entries.set(key, isWhole ? entry : mergeEntry(before, entry, false))
  }
  return { keyAt, value: { kind: 'map', entries, at: value.at } }
}

function overlayByName(
  base: readonly Located[],
  section: readonly Located[],
  merge: (base: Located, section: Located) => Located,
): Located[] {
  const result = [...base]
  const positions = new Map<string, number>()
  for (const [position, item] of base.entries()) {
    const name = nameOf(item)
    if (name !== null) positions.set(name, position)
  }
  for (const item of section) {
    const name = nameOf(item)
    const position = name === null ? undefined : positions.get(name)
    const under = position === undefined ? undefined : result[position]
    if (position === undefined || under === undefined) result.push(item)
    else result[position] = merge(under, item)
  }
  return result
}

/** The name in lower case, by which everything is looked up; null where there is none. */
export function nameOf(node: Located): string | null {
  return textOf(node, 'name')
}

function typeOf(node: Located): string | null {
  return textOf(node, 'execution_type')
}

function textOf(node: Located, key: string): string | null {
  const value = node.kind === 'map' ? node.entries.get(key)?.value : undefined
  return value?.kind === 'scalar' && typeof value.value === 'string' ? value.value.toLowerCase() : null
}
