import type { Entity } from '../entity/entity.ts'
import type { SqlType } from '../sql-type.ts'
import type { CheckedService, OperationSchemas } from '../../registry/parse-registry.ts'
import type { Operation } from '../../registry/schema/service.ts'

/** A service as compiled rows tell of it. */
export interface CompiledService {
  checked: CheckedService
  /** What the audit trail calls it too, unless the service has references: they are expanded in the worker alone. */
  policyDigest: string
  /** runner_config as the registry has it, references and all, as JSON; null where it holds a secret in clear. */
  runnerConfig: string | null
}

export interface CompiledOperation {
  service: CompiledService
  operation: Operation
  schemas: OperationSchemas
}

/** A table with the variable that holds one of its rows. */
export interface RowVariable {
  sql: string
  /** Null: a row that a step of somebody else binds, of which nothing is known. */
  entity: Entity | null
}

/** A condition that the values of a running function must not meet. */
export interface RuntimeCheck {
  /** SQL that is true where the value does not fit. */
  violation: string
  message: string
  /** The value, for the message. */
  found: string
}

/** One INSERT of a job; every text is SQL that was composed here, unless it says otherwise. */
export interface CallPlan {
  variable: string
  /** As the registry spells them; plain text, like every name below. */
  service: string
  operation: string
  executionType: string
  entityType: string
  entityId: string
  key: string | null
  correlationId: string
  input: string
  checks: RuntimeCheck[]
  maxAttempts: number
  timeoutSeconds: number
  runnerConfig: string
  policyDigest: string
  onWorkerLost: 'retry' | 'fail' | null
  onConflict: 'existing' | 'error'
  priority: number | null
  runAt: string | null
}

export type Statement =
  | { kind: 'insert'; entity: Entity; columns: { field: string; value: string }[]; into: string | null }
  | { kind: 'update'; entity: Entity; assignments: { field: string; value: string }[]; where: string }
  | { kind: 'reload'; row: RowVariable & { entity: Entity } }
  | { kind: 'validate'; condition: string; error: string }
  // `as`: a variable of its own for the job's id, since another call of the operation takes the documented one.
  | { kind: 'call'; call: CallPlan; as: string | null }
  | { kind: 'return'; value: string }

export interface Body {
  statements: Statement[]
  /** Declared variables with their types. */
  variables: Map<string, string>
}

export interface ActionPlan {
  name: string
  parameters: { name: string; type: string }[]
  returns: string
  /** What a returned mapping holds; null where one value or nothing is returned. */
  returnedFields: { name: string; type: SqlType }[] | null
  /** The row that is loaded and locked first; null where no step needs it. */
  subject: { row: RowVariable & { entity: Entity }; parameter: string } | null
  body: Body
}

export interface CallbackPlan {
  name: string
  outcome: 'success' | 'failure'
  subject: RowVariable & { entity: Entity }
  body: Body
}

/** What is registered for a service's operation, called for an entity. */
export interface CallbackGroup {
  service: string
  operation: string
  success: CallbackPlan | null
  failure: CallbackPlan | null
}

export interface SnippetPlan {
  action: string
  /** From 1. */
  step: number
  call: CallPlan
}

export interface EntityPlan {
  entity: Entity
  actions: ActionPlan[]
  snippets: SnippetPlan[]
  callbacks: CallbackGroup[]
}
