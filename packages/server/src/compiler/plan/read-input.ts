import type { Located, Place } from '../../platform/yaml/located-yaml.ts'
import type { FaultReport } from '../../registry/fault-report.ts'
import { parseWord } from '../entity/read-steps.ts'
import type { LocatedExpression } from '../entity/entity.ts'
import type { SqlValue } from '../expression/write-expression.ts'
import { toJsonNumber } from '../json-number.ts'
import { UNKNOWN } from '../sql-type.ts'
import { quoteJson, quoteText } from '../sql-literal.ts'

/** A value of a step's input: known now, known when the function runs, or made of such. */
export type InputValue =
  | { kind: 'literal'; json: string; at: Place }
  | { kind: 'value'; value: SqlValue; at: Place }
  | { kind: 'list'; items: InputValue[]; at: Place }
  | { kind: 'object'; entries: InputEntry[]; at: Place }

export interface InputEntry {
  key: string
  at: Place
  value: InputValue
  /** Left out where its value is null: the schema neither wants the key nor takes null. */
  isLeftOutWhenNull: boolean
}

/** Reads input: a text that begins with $ is an expression ($$ for a text that does), everything else is what it is. */
export function readInput(
  node: Located,
  report: FaultReport,
  write: (expression: LocatedExpression) => SqlValue | null,
): InputValue {
  const { at } = node
  if (node.kind === 'list') {
    const items = node.items.map((item) => readInput(item, report, write))
    return isLiteral(items)
      ? { kind: 'literal', json: `[${items.map(({ json }) => json).join(',')}]`, at }
      : { kind: 'list', items, at }
  }
  if (node.kind === 'map') {
    const entries = [...node.entries].map(([key, { keyAt, value }]) => ({
      key,
      at: keyAt,
      value: readInput(value, report, write),
      isLeftOutWhenNull: false,
    }))
    return { kind: 'object', entries, at }
  }
  if (typeof node.value === 'string' && node.value.startsWith('$') && !node.value.startsWith('$$')) {
    const parsed = parseWord({ text: node.value, at }, report)
    const value = parsed === null ? null : write(parsed)
    // What is wrong is told already: a value of no known type is no second fault.
    return { kind: 'value', value: value ?? { sql: 'null', type: UNKNOWN }, at }
  }
  return { kind: 'literal', json: literalJson(node, report), at }
}

function literalJson(node: Extract<Located, { kind: 'scalar' }>, report: FaultReport): string {
  if (typeof node.value === 'string')
    return JSON.stringify(node.value.startsWith('$$') ? node.value.slice(1) : node.value)
  if (typeof node.value !== 'number') return String(node.value)
  const number = toJsonNumber(node.source ?? String(node.value))
  if (number === null) report.fault(node.at, 'the number has more digits than can be stored')
  return number ?? 'null'
}

function isLiteral(items: InputValue[]): items is Extract<InputValue, { kind: 'literal' }>[] {
  return items.every(({ kind }) => kind === 'literal')
}

/** The JSON of a value without references; null where it has one. */
export function jsonOf(value: InputValue): string | null {
  if (value.kind === 'literal') return value.json
  if (value.kind === 'value') return null
  const parts = value.kind === 'list' ? value.items.map(jsonOf) : value.entries.map((entry) => jsonOf(entry.value))
  if (parts.includes(null)) return null
  if (value.kind === 'list') return `[${parts.join(',')}]`
  return `{${value.entries.map(({ key }, index) => `${JSON.stringify(key)}:${parts[index]}`).join(',')}}`
}

/** A function takes at most a hundred values. */
const MAX_PAIRS = 50
const MAX_ITEMS = 100

/** The jsonb of an input. */
export function writeInput(value: InputValue): string {
  const json = jsonOf(value)
  if (json !== null) return quoteJson(json)
  switch (value.kind) {
    case 'literal':
      return quoteJson(value.json)
    case 'value':
      return value.value.sql
    case 'list':
      return join(
        chunks(value.items, MAX_ITEMS),
        (items) => `pg_catalog.jsonb_build_array(${items.map(writeInput).join(', ')})`,
      )
    case 'object': {
      const fixed = value.entries.filter((entry) => !entry.isLeftOutWhenNull)
      const optional = value.entries.filter((entry) => entry.isLeftOutWhenNull)
      return join([...chunks(fixed, MAX_PAIRS), ...optional.map((entry) => [entry])], (entries) => {
        const pairs = entries.map((entry) => `${quoteText(entry.key)}, ${writeInput(entry.value)}`)
        const built = `pg_catalog.jsonb_build_object(${pairs.join(', ')})`
        const [first] = entries
        if (first?.isLeftOutWhenNull !== true) return built
        return `case when ${writeInput(first.value)} is null then '{}'::pg_catalog.jsonb else ${built} end`
      })
    }
  }
}

function join<Item>(parts: Item[][], write: (part: Item[]) => string): string {
  const [only, ...others] = parts.map(write)
  return others.length === 0 && only !== undefined ? only : `(${[only, ...others].join(' || ')})`
}

function chunks<Item>(items: Item[], size: number): Item[][] {
  const parts: Item[][] = []
  for (let at = 0; at < items.length; at += size) parts.push(items.slice(at, at + size))
  return parts
}
