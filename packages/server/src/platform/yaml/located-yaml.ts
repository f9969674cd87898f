import { isAlias, isMap, isPair, isScalar, isSeq, Lexer, parseDocument, type Alias, type Node, type Scalar } from 'yaml'

/** Where a value stands: its offset in the text, and its path as the linked keys above it. */
export interface Place {
  offset: number
  key: string | number | null
  parent: Place | null
}

/** A YAML value that knows its place. Maps are Maps, so that no key can be mistaken for a property of Object. */
export type Located =
  // A number's `source` is its text as written: past 2^53 the value is another number.
  | { kind: 'scalar'; value: string | number | boolean | null; source?: string; at: Place }
  | { kind: 'list'; items: Located[]; at: Place }
  | { kind: 'map'; entries: Map<string, LocatedEntry>; at: Place }

export interface LocatedEntry {
  keyAt: Place
  value: Located
}

export interface YamlFault {
  at: Place
  message: string
}

/** What a hostile or broken file may cost; a text beyond one of these is refused whole. */
const YAML_BOUNDS = { bytes: 1_048_576, tokens: 100_000, nodes: 100_000, depth: 64 }
export const MAX_YAML_BYTES: number = YAML_BOUNDS.bytes

/**
 * Reads one YAML document with the place of every value. Duplicate keys, tags and the key __proto__ are faults; aliases
 * are followed within the bound on nodes. the worst text we know (quotes that never close) takes
 * three seconds, a registry of a thousand services half of one. `keepsHuge` takes numbers past a double's range, for who
 * reads their source.
 */
export function readLocatedYaml(
  text: string,
  { keepsHuge = false } = {},
): { root: Located | null; faults: YamlFault[] } {
  const top: Place = { offset: 0, key: null, parent: null }
  const tooLarge = findExcess(text)
  if (tooLarge !== null) return { root: null, faults: [{ at: top, message: tooLarge }] }
  // The library compares each key with all keys before it, which takes minutes for a large map: `Reader` does it by a Map.
  const document = parseDocument(text, { prettyErrors: false, uniqueKeys: false, schema: 'core', merge: false })
  const problems = [...document.errors, ...document.warnings]
  if (problems.length > 0) {
    const faults = problems.map(({ pos, message }) => ({ at: { ...top, offset: pos[0] }, message: explain(message) }))
    return { root: null, faults }
  }
  if (document.contents === null) return { root: null, faults: [] }
  const reader = new Reader(keepsHuge)
  const root = reader.read(document.contents, top, 0)
  return { root: reader.faults.length > 0 ? null : root, faults: reader.faults }
}

function findExcess(text: string): string | null {
  const bytes = Buffer.byteLength(text)
  if (bytes > YAML_BOUNDS.bytes) return `the file is ${bytes} bytes long; at most ${YAML_BOUNDS.bytes} are read`
  // A character makes four tokens at the most, so that most files need not be taken apart twice.
  if (text.length * 4 <= YAML_BOUNDS.tokens) return null
  let tokens = 0
  for (const _ of new Lexer().lex(text)) {
    if (++tokens > YAML_BOUNDS.tokens)
      return `the file has more than ${YAML_BOUNDS.tokens} YAML tokens; divide it, or shorten it`
  }
  return null
}

/** Turns nodes of the library into located values; stops at the first excess, so that a bomb costs no more than the bound. */
class Reader {
  readonly faults: YamlFault[] = []
  readonly #anchors = new Map<string, Node>()
  /** What each alias stands for where it is written: a name may be given anew later, and nodes are read again through aliases. */
  readonly #targets = new Map<Alias, Node | undefined>()
  #isFollowing = false
  /** Nodes that are being read: an alias to one of them would never end. */
  readonly #open = new Set<Node>()
  #nodes = 0
  #isExhausted = false
  readonly #keepsHuge: boolean

  constructor(keepsHuge: boolean) {
    this.#keepsHuge = keepsHuge
  }

  read(node: unknown, at: Place, depth: number): Located {
    const nothing: Located = { kind: 'scalar', value: null, at }
    if (this.#isExhausted) return nothing
    if (++this.#nodes > YAML_BOUNDS.nodes) {
      return this.#exhaust(at, `the file holds more than ${YAML_BOUNDS.nodes} values once its aliases are followed`)
    }
    if (depth > YAML_BOUNDS.depth) return this.#exhaust(at, `nested more than ${YAML_BOUNDS.depth} levels deep`)
    if (isAlias(node)) return this.#follow(node, { ...at, offset: node.range?.[0] ?? at.offset }, depth)
    if (!isMap(node) && !isSeq(node) && !isScalar(node)) return nothing
    const here = { ...at, offset: node.range?.[0] ?? at.offset }
    if (node.anchor !== undefined && !this.#isFollowing) this.#anchors.set(node.anchor, node)
    if (node.tag !== undefined && isExplicitTag(node.tag)) this.#fault(here, `the tag ${node.tag} is not supported`)
    if (isScalar(node)) {
      const isHuge = this.#keepsHuge && /\d/.test(node.source ?? '')
      const value = this.#scalar(node.value, here, isHuge)
      const isNumber = typeof value === 'number' && node.source !== undefined
      return { kind: 'scalar', value, ...(isNumber ? { source: node.source } : {}), at: here }
    }
    this.#open.add(node)
    const located = isSeq(node) ? this.#list(node.items, here, depth) : this.#map(node.items, here, depth)
    this.#open.delete(node)
    return located
  }

  #list(items: readonly unknown[], at: Place, depth: number): Located {
    const read = (item: unknown, key: number) => this.read(item, { offset: at.offset, key, parent: at }, depth + 1)
    return { kind: 'list', items: items.map(read), at }
  }

  #map(pairs: readonly unknown[], at: Place, depth: number): Located {
    const entries = new Map<string, LocatedEntry>()
    for (const pair of pairs) {
      if (!isPair(pair)) continue
      const keyNode: unknown = pair.key
      const offset = (isScalar(keyNode) ? keyNode.range?.[0] : undefined) ?? at.offset
      const key = isScalar(keyNode) ? keyText(keyNode) : ''
      const keyAt = { offset, key, parent: at }
      const value = this.read(pair.value, keyAt, depth + 1)
      if (this.#isExhausted) break
      if (!isScalar(keyNode) || keyNode.value === null) this.#fault({ ...at, offset }, 'a key must be plain text')
      else if (key === '__proto__') this.#fault(keyAt, 'the key __proto__ is refused')
      else if (entries.has(key)) this.#fault(keyAt, `the key "${shorten(key, 60)}" stands here a second time`)
      else entries.set(key, { keyAt, value })
    }
    return { kind: 'map', entries, at }
  }

  #follow(alias: Alias, at: Place, depth: number): Located {
    const name = alias.source
    if (!this.#targets.has(alias)) this.#targets.set(alias, this.#anchors.get(name))
    const target = this.#targets.get(alias)
    if (target !== undefined && !this.#open.has(target)) {
      const wasFollowing = this.#isFollowing
      this.#isFollowing = true
      const located = this.read(target, at, depth)
      this.#isFollowing = wasFollowing
      return located
    }
    const message =
      target === undefined
        ? `the alias *${shorten(name, 60)} has no anchor above it`
        : `the alias *${shorten(name, 60)} stands within its own anchor`
    this.#fault(at, message)
    return { kind: 'scalar', value: null, at }
  }

  #scalar(value: unknown, at: Place, isHuge: boolean): string | number | boolean | null {
    if (typeof value === 'number' && !Number.isFinite(value) && !isHuge)
      this.#fault(at, `${value} is not a number that can be used`)
    if (typeof value === 'string' && !value.isWellFormed()) this.#fault(at, 'the text has a lone surrogate')
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') return value
    return null
  }

  #exhaust(at: Place, message: string): Located {
    this.#isExhausted = true
    this.#fault(at, message)
    return { kind: 'scalar', value: null, at }
  }

  #fault(at: Place, message: string): void {
    this.faults.push({ at, message })
  }
}

/** A number as it is written: past 2^53 it is another one, and 1.0 would be the key of 1. */
function keyText({ value, source }: Scalar): string {
  return typeof value === 'number' ? (source ?? String(value)) : String(value)
}

/** The library's own recursion ends in this, which it reports like a fault of the text. */
function explain(message: string): string {
  return message.startsWith('Maximum call stack')
    ? `nested more than ${YAML_BOUNDS.depth} levels deep`
    : shorten(message)
}

function isExplicitTag(tag: string): boolean {
  return !/^tag:yaml\.org,2002:(str|int|float|bool|null|map|seq)$/.test(tag)
}

function shorten(text: string, length = 200): string {
  return text.length <= length ? text : `${text.slice(0, length)}…`
}

/** The value without places. Its objects have no prototype's keys in the way: `__proto__` cannot be among them. */
export function toPlain(node: Located): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(toPlain)
  return Object.fromEntries([...node.entries].map(([key, { value }]) => [key, toPlain(value)]))
}

/** The place of a path within a value; of its nearest parent that exists where the path ends early. */
export function placeAt(root: Located, path: readonly PropertyKey[], wants: 'key' | 'value' = 'value'): Place {
  let node = root
  let at = root.at
  for (const key of path) {
    const next: LocatedEntry | undefined =
      node.kind === 'map'
        ? node.entries.get(String(key))
        : node.kind === 'list' && node.items[Number(key)] !== undefined
          ? { keyAt: (node.items[Number(key)] ?? node).at, value: node.items[Number(key)] ?? node }
          : undefined
    if (next === undefined) break
    node = next.value
    at = wants === 'key' ? { ...next.keyAt } : { ...node.at }
  }
  return at
}

/** `services.0.runner_config.base_url`; empty for the document itself. */
export function pathText(place: Place): string {
  const keys: string[] = []
  for (let at: Place | null = place; at !== null; at = at.parent) if (at.key !== null) keys.unshift(String(at.key))
  return keys.join('.')
}

/** Finds line and column of offsets, both from 1; the text is looked through once, however many are asked for. */
export function lineFinder(text: string): (offset: number) => { line: number; column: number } {
  const starts = [0]
  for (let at = text.indexOf('\n'); at !== -1; at = text.indexOf('\n', at + 1)) starts.push(at + 1)
  return (offset) => {
    let low = 0
    let high = starts.length - 1
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if ((starts[middle] ?? 0) <= offset) low = middle
      else high = middle - 1
    }
    return { line: low + 1, column: offset - (starts[low] ?? 0) + 1 }
  }
}
