import { hash } from 'node:crypto'
import path from 'node:path'
import { type Located, readLocatedYaml } from '../../platform/yaml/located-yaml.ts'
import { FaultReport } from '../../registry/fault-report.ts'
import { findNameProblem, isSqlName, snakeCase } from '../names.ts'
import { readSqlType, type SqlType, UUID } from '../sql-type.ts'
import type { Action, Entity } from './entity.ts'
import { MapReader, type Word } from './map-reader.ts'
import { readSteps } from './read-steps.ts'

export interface SourceText {
  file: string
  text: string
}

/** Reads one entity file; null where it holds none that can be named. Faults are told in its report. */
export function readEntity({ file, text }: SourceText): { entity: Entity | null; report: FaultReport } {
  const report = new FaultReport(text, file)
  const { root, faults } = readLocatedYaml(text, { keepsHuge: true })
  for (const { at, message } of faults) report.fault(at, message)
  if (root === null) {
    if (faults.length === 0)
      report.fault({ offset: 0, key: null, parent: null }, 'the file is empty; an entity begins with "entity:"')
    return { entity: null, report }
  }
  refuseUnstorable(root, report)
  if (!report.isClean) return { entity: null, report }
  const map = MapReader.open(root, 'an entity', report)
  if (map === null) return { entity: null, report }
  const named = map.required('entity', 'an entity')
  const name = readName(named, report)
  // Its row is known by this name.
  const problem = name === null ? null : findNameProblem(snakeCase(name))
  if (named !== null && problem !== null) report.fault(named.at, problem)
  const schema = readName(map.required('schema', 'an entity'), report)
  const table = readTable(map.word('table'), schema, name, report)
  const fields = readTypes(map.entries('fields'), report, (field) =>
    isSqlName(field) ? null : 'must be letters, digits and "_", beginning with a letter, at most 63',
  )
  if (!fields.has('id')) fields.set('id', UUID)
  const actions = readActions(map.list('actions'), report)
  map.finish()
  if (name === null || schema === null || table === null) return { entity: null, report }
  const digest = hash('sha256', text, 'hex')
  return {
    entity: {
      report,
      file: path.basename(file),
      digest,
      name,
      at: map.keyAt('entity'),
      schema,
      table,
      fields,
      declaresFields: map.has('fields'),
      actions,
    },
    report,
  }
}

/** YAML's "\0" is a character that neither text nor jsonb can hold; a lone surrogate is refused where YAML is read. */
function refuseUnstorable(node: Located, report: FaultReport): void {
  const message = 'holds a NUL character, which PostgreSQL cannot store'
  if (node.kind === 'list') for (const item of node.items) refuseUnstorable(item, report)
  else if (node.kind === 'scalar') {
    if (typeof node.value === 'string' && node.value.includes('\u0000')) report.fault(node.at, message)
  } else {
    for (const [key, { keyAt, value }] of node.entries) {
      if (key.includes('\u0000')) report.fault(keyAt, message)
      if (!key.isWellFormed()) report.fault(keyAt, 'the key has a lone surrogate')
      refuseUnstorable(value, report)
    }
  }
}

function readName(word: Word | null, report: FaultReport): string | null {
  if (word === null) return null
  if (isSqlName(word.text)) return word.text
  report.fault(word.at, 'must be letters, digits and "_", beginning with a letter, at most 63')
  return null
}

function readTable(
  word: Word | null,
  schema: string | null,
  name: string | null,
  report: FaultReport,
): Entity['table'] | null {
  if (word === null) return schema !== null && name !== null ? { schema, name: snakeCase(name) } : null
  const [first = '', second, ...rest] = word.text.split('.')
  const table = second === undefined ? { schema: schema ?? '', name: first } : { schema: first, name: second }
  if (rest.length === 0 && isSqlName(table.name) && (isSqlName(table.schema) || schema === null)) return table
  report.fault(word.at, 'must be TABLE or SCHEMA.TABLE, each of letters, digits and "_", beginning with a letter')
  return null
}

function readTypes(
  entries: [string, { keyAt: Located['at']; value: Located }][],
  report: FaultReport,
  findProblem: (name: string) => string | null,
): Map<string, SqlType> {
  const types = new Map<string, SqlType>()
  for (const [name, { keyAt, value }] of entries) {
    const problem = findProblem(name)
    if (problem !== null) report.fault(keyAt, problem)
    const text = value.kind === 'scalar' && typeof value.value === 'string' ? value.value : null
    const type = text === null ? { problem: 'must be the name of a type' } : readSqlType(text)
    if ('problem' in type) report.fault(value.at, type.problem)
    // Kept, so that what refers to it is not a second fault.
    types.set(name, 'problem' in type ? { sql: 'text', family: 'unknown' } : type)
  }
  return types
}

function readActions(items: readonly Located[], report: FaultReport): Action[] {
  const actions: Action[] = []
  const seen = new Set<string>()
  for (const item of items) {
    const map = MapReader.open(item, 'an action', report)
    if (map === null) continue
    const name = map.required('name', 'an action')
    const params = readTypes(map.entries('params'), report, findNameProblem)
    // PostgreSQL's most, with one for the row.
    if (params.size > 99) report.fault(map.keyAt('params'), `has ${params.size} parameters; at most 99`)
    const steps = readSteps(map.list('steps'), report)
    if (!map.has('steps')) report.fault(map.at, "an action missing required field 'steps'")
    map.finish()
    if (name === null) continue
    if (!/^[a-z][a-z0-9_]{0,62}$/.test(name.text))
      report.fault(name.at, 'must be lower-case letters, digits and "_", beginning with a letter, at most 63')
    else if (seen.has(name.text)) report.fault(name.at, `the action "${name.text}" stands here a second time`)
    else actions.push({ name: name.text, at: name.at, params, steps })
    seen.add(name.text)
  }
  return actions
}
