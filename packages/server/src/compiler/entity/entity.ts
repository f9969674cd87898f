import type { Located, Place } from '../../platform/yaml/located-yaml.ts'
import type { FaultReport } from '../../registry/fault-report.ts'
import type { SqlType } from '../sql-type.ts'
import type { Expression, UpdateClause } from '../expression/parse-expression.ts'
import type { Word } from './map-reader.ts'

/** An entity file as it was read: its words are in order, what they mean is the plan's question. */
export interface Entity {
  /** Where faults of this file are told. */
  report: FaultReport
  /** The name of the file, without its folders. */
  file: string
  /** SHA-256 of the file's text. */
  digest: string
  name: string
  at: Place
  schema: string
  table: { schema: string; name: string }
  /** `id` is always among them; any other name is taken where the file declares no fields at all. */
  fields: ReadonlyMap<string, SqlType>
  declaresFields: boolean
  actions: readonly Action[]
}

export interface Action {
  name: string
  at: Place
  params: ReadonlyMap<string, SqlType>
  steps: readonly Step[]
}

export type Step = InsertStep | UpdateStep | ValidateStep | CallStep | ReturnStep | UnsupportedStep

/** An expression with the place of the YAML value it stands in. */
export interface LocatedExpression {
  expression: Expression
  at: Place
}

export interface InsertStep {
  kind: 'insert'
  at: Place
  entity: Word
  /** The name its row is known by. */
  as: string | null
  /** Null: each parameter that has the name of a field. */
  values: { field: string; value: LocatedExpression }[] | null
}

export interface UpdateStep {
  kind: 'update'
  at: Place
  clause: UpdateClause
}

export interface ValidateStep {
  kind: 'validate'
  at: Place
  condition: LocatedExpression
  /** What the application is told when the condition does not hold. */
  error: string
}

export interface CallStep {
  kind: 'call'
  at: Place
  service: Word
  operation: Word
  input: Located | null
  timeout: { seconds: number; at: Place } | null
  maxRetries: { count: number; at: Place } | null
  correlation: LocatedExpression | null
  key: { text: string; value: LocatedExpression }[]
  onConflict: 'existing' | 'error'
  priority: number | null
  runAt: LocatedExpression | null
  /** The name its job is known by. */
  as: string | null
  onSuccess: readonly Step[] | null
  onFailure: readonly Step[] | null
}

export interface ReturnStep {
  kind: 'return'
  at: Place
  value: LocatedExpression | { fields: { name: string; value: LocatedExpression }[]; at: Place }
}

/** A step that is not compiled; snippets pass it by. */
export interface UnsupportedStep {
  kind: 'unsupported'
  at: Place
  name: string
  as: string | null
}
