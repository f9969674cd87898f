import type { Located, Place } from '../../platform/yaml/located-yaml.ts'
import { closestMatch } from '../../platform/text/closest-match.ts'
import type { FaultReport } from '../../registry/fault-report.ts'
import { ExpressionError, parseExpression, parseUpdate } from '../expression/parse-expression.ts'
import { findNameProblem, isSqlName } from '../names.ts'
import { toJsonNumber } from '../json-number.ts'
import type { CallStep, InsertStep, LocatedExpression, ReturnStep, Step, UpdateStep, ValidateStep } from './entity.ts'
import { MapReader, type Word } from './map-reader.ts'

const STEP_KINDS = ['insert', 'update', 'validate', 'call_service', 'return'] as const
const PRIORITIES: Readonly<Record<string, number>> = { high: 50, normal: 100, low: 150 }
/** Callbacks within callbacks; a chain that is longer is a program, not a reaction. */
const MAX_CALLBACK_DEPTH = 5
const MAX_KEY = 20

/** The steps of an action or callback; what is wrong with one does not hide the next. */
export function readSteps(items: readonly Located[], report: FaultReport, depth = 0): Step[] {
  return items.flatMap((item) => {
    const step = readStep(item, report, depth)
    return step === null ? [] : [step]
  })
}

function readStep(item: Located, report: FaultReport, depth: number): Step | null {
  const map = MapReader.open(item, 'a step', report)
  if (map === null) return null
  const kind = STEP_KINDS.find((name) => map.has(name))
  switch (kind) {
    case 'insert':
      return finish(map, readInsert(map, report))
    case 'update':
      return finish(map, readUpdate(map, report))
    case 'validate':
      return finish(map, readValidate(map, report))
    case 'return':
      return finish(map, readReturn(map, report))
    case 'call_service': {
      const inner = map.node('call_service')
      const call = inner === null ? null : MapReader.open(inner, 'call_service', report)
      if (inner === null) report.fault(map.keyAt('call_service'), "call_service missing required field 'service'")
      return finish(map, call === null ? null : finish(call, readCall(call, map.keyAt('call_service'), report, depth)))
    }
    case undefined: {
      const name = map.keys()[0] ?? ''
      const as = item.kind === 'map' ? item.entries.get('as')?.value : undefined
      const isNamed = as?.kind === 'scalar' && typeof as.value === 'string' && findNameProblem(as.value) === null
      return { kind: 'unsupported', at: map.keyAt(name), name, as: isNamed ? String(as.value) : null }
    }
  }
}

/** What a step that is not compiled is told as. */
export function explainUnsupported(name: string): string {
  const similar = closestMatch(name, STEP_KINDS)
  const hint = similar === undefined ? '.' : `; did you mean "${similar}"?`
  return `the step "${name.slice(0, 60)}" is not compiled${hint} Steps: ${STEP_KINDS.join(', ')}. Write the function yourself and take its call_service from --snippet`
}

function finish<Result>(map: MapReader, result: Result): Result {
  map.finish()
  return result
}

function readInsert(map: MapReader, report: FaultReport): InsertStep | null {
  const entity = map.required('insert', 'insert')
  const as = readName(map, report)
  const values = map.entries('values').flatMap(([field, { value }]) => {
    const read = readValue(value, report)
    return read === null ? [] : [{ field, value: read }]
  })
  return entity && { kind: 'insert', at: entity.at, entity, as, values: map.node('values') === null ? null : values }
}

function readName(map: MapReader, report: FaultReport): string | null {
  const word = map.word('as')
  const problem = word === null ? null : findNameProblem(word.text)
  if (word !== null && problem !== null) report.fault(word.at, problem)
  return problem === null ? (word?.text ?? null) : null
}

function readUpdate(map: MapReader, report: FaultReport): UpdateStep | null {
  const word = map.required('update', 'update')
  if (word === null) return null
  return tryParse(word, report, () => ({ kind: 'update' as const, at: word.at, clause: parseUpdate(word.text) }))
}

function readValidate(map: MapReader, report: FaultReport): ValidateStep | null {
  const condition = map.required('validate', 'validate')
  const error = map.required('error', 'validate')
  if (condition === null || error === null) return null
  if (error.text.length > 500) report.fault(error.at, `is ${error.text.length} characters long; at most 500`)
  const parsed = parseWord(condition, report)
  return parsed && { kind: 'validate', at: condition.at, condition: parsed, error: error.text }
}

function readReturn(map: MapReader, report: FaultReport): ReturnStep | null {
  const node = map.node('return')
  const at = map.keyAt('return')
  if (node === null) {
    report.fault(at, 'return needs a value')
    return null
  }
  if (node.kind !== 'map') {
    const value = readValue(node, report)
    return value && { kind: 'return', at, value }
  }
  const fields = map.entries('return').flatMap(([name, { value }]) => {
    const read = readValue(value, report)
    return read === null ? [] : [{ name, value: read }]
  })
  return { kind: 'return', at, value: { fields, at: node.at } }
}

function readCall(map: MapReader, at: Place, report: FaultReport, depth: number): CallStep | null {
  const service = map.required('service', 'call_service')
  const operation = map.required('operation', 'call_service')
  const isAsync = map.node('async')
  if (isAsync !== null && !(isAsync.kind === 'scalar' && isAsync.value === true))
    report.fault(isAsync.at, 'must be true: a job runs after its transaction, so no function can wait for it')
  const seconds = map.number('timeout', { min: 0.1, max: 86_400, isWhole: false })
  const count = map.number('max_retries', { min: 0, max: 999, isWhole: true })
  const callbacks = (key: 'on_success' | 'on_failure') => {
    if (map.node(key) === null) return null
    if (depth < MAX_CALLBACK_DEPTH) return readSteps(map.list(key), report, depth + 1)
    report.fault(map.keyAt(key), `callbacks are nested more than ${MAX_CALLBACK_DEPTH} levels deep`)
    return null
  }
  const step = {
    kind: 'call' as const,
    at,
    input: map.node('input'),
    timeout: seconds === null ? null : { seconds, at: map.keyAt('timeout') },
    maxRetries: count === null ? null : { count, at: map.keyAt('max_retries') },
    correlation: readOptional(map.word('correlation_field'), report),
    key: readKey(map, report),
    onConflict: map.choice('on_conflict', ['existing', 'error']) ?? ('existing' as const),
    priority: readPriority(map, report),
    runAt: readOptional(map.word('run_at'), report),
    as: readName(map, report),
    onSuccess: callbacks('on_success'),
    onFailure: callbacks('on_failure'),
  }
  return service && operation && { ...step, service, operation }
}

/** Names of fields of the entity, or expressions that begin with a reference. */
function readKey(map: MapReader, report: FaultReport): CallStep['key'] {
  const nodes = map.list('key')
  if (nodes.length > MAX_KEY) report.fault(map.keyAt('key'), `has ${nodes.length} values; at most ${MAX_KEY}`)
  return nodes.flatMap((node) => {
    if (node.kind !== 'scalar' || typeof node.value !== 'string') {
      report.fault(node.at, 'must be the name of a field, or a reference such as $occurrence')
      return []
    }
    const word = { text: node.value, at: node.at }
    if (isSqlName(word.text))
      return [{ text: word.text, value: { expression: { kind: 'column' as const, name: word.text }, at: word.at } }]
    const value = parseWord(word, report)
    return value === null ? [] : [{ text: word.text, value }]
  })
}

function readPriority(map: MapReader, report: FaultReport): number | null {
  const node = map.node('priority')
  if (node?.kind !== 'scalar' || typeof node.value !== 'string')
    return map.number('priority', { min: -32_768, max: 32_767, isWhole: true })
  if (Object.hasOwn(PRIORITIES, node.value)) return PRIORITIES[node.value] ?? null
  report.fault(node.at, `must be ${Object.keys(PRIORITIES).join(', ')} or a whole number, lower is sooner`)
  return null
}

function readOptional(word: Word | null, report: FaultReport): LocatedExpression | null {
  return word === null ? null : parseWord(word, report)
}

/** A value of YAML: a number or boolean as it is, a text as an expression. */
function readValue(node: Located, report: FaultReport): LocatedExpression | null {
  const { at } = node
  if (node.kind !== 'scalar') {
    report.fault(at, 'must be an expression or a single value')
    return null
  }
  if (typeof node.value === 'string') return parseWord({ text: node.value, at }, report)
  if (node.value === null || typeof node.value === 'boolean')
    return { expression: { kind: 'constant', name: node.value === null ? 'null' : `${node.value}` }, at }
  const number = toJsonNumber(node.source ?? String(node.value))
  if (number === null) report.fault(at, 'the number has more digits than can be stored')
  if (number?.startsWith('-') === true)
    return { expression: { kind: 'unary', operator: '-', operand: { kind: 'number', digits: number.slice(1) } }, at }
  return number === null ? null : { expression: { kind: 'number', digits: number }, at }
}

/** The expression a text stands for; null, and a fault, where it stands for none. */
export function parseWord(word: Word, report: FaultReport): LocatedExpression | null {
  return tryParse(word, report, () => ({ expression: parseExpression(word.text), at: word.at }))
}

function tryParse<Result>({ text, at }: Word, report: FaultReport, parse: () => Result): Result | null {
  try {
    return parse()
  } catch (error) {
    if (!(error instanceof ExpressionError)) throw error
    const short = text.length <= 80 ? text : `${text.slice(0, 80)}…`
    report.fault(at, `${error.message} (character ${error.column} of: ${short})`)
    return null
  }
}
