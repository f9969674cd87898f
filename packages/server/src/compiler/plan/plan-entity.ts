import type { Place } from '../../platform/yaml/located-yaml.ts'
import type { CallStep, Entity, Step } from '../entity/entity.ts'
import { callbackName, MAX_NAME } from '../names.ts'
import { UNKNOWN } from '../sql-type.ts'
import type { ActionPlan, CallbackGroup, CallbackPlan, CompiledOperation, EntityPlan } from './plan.ts'
import { BodyPlanner, type FoundCall, type PlanContext, rowType } from './plan-body.ts'
import { FunctionScope } from './scope.ts'

/** Plans what an entity's file compiles to: its functions, or the steps alone for functions generated elsewhere. */
export function planEntity(entity: Entity, context: PlanContext, { isSnippet }: { isSnippet: boolean }): EntityPlan {
  const callbacks = new CallbackPlanner(entity, context)
  const plan: EntityPlan = { entity, actions: [], snippets: [], callbacks: [] }
  for (const action of entity.actions) {
    const scope = new FunctionScope(entity, action.params, null)
    const planner = new BodyPlanner(entity, context, scope, action.params)
    if (isSnippet) {
      plan.snippets.push(...planner.planSnippets(action.name, action.steps))
    } else {
      if (action.params.has(scope.subjectName))
        entity.report.fault(action.at, `a parameter has the name of the row $${scope.subjectName}; choose another`)
      planner.plan(action.steps, false)
      plan.actions.push(finishAction(action.name, action, planner, scope, entity))
    }
    callbacks.add(planner.calls)
    refuseSwallowed(action.steps, new Set(), entity)
  }
  plan.callbacks = callbacks.finish()
  return plan
}

function finishAction(
  name: string,
  { params, at }: Entity['actions'][number],
  { body, returns, returnedFields }: BodyPlanner,
  scope: FunctionScope,
  entity: Entity,
): ActionPlan {
  const own = [...params].map(([param, type]) => ({ name: `_${param}`, type: type.sql }))
  const returned = returns?.sql ?? 'void'
  if (!scope.needsSubject) return { name, parameters: own, returns: returned, returnedFields, subject: null, body }
  const parameter = `_${scope.subjectName}_id`
  if (params.has(parameter.slice(1)))
    entity.report.fault(
      at,
      `the parameter ${parameter.slice(1)} is made by the compiler, since steps use $${scope.subjectName} before one binds it; take yours out`,
    )
  if (body.variables.has(parameter))
    entity.report.fault(
      at,
      `a step binds $${parameter.slice(1)}, which is the parameter that the compiler makes, since steps use $${scope.subjectName} before one binds it; choose another name with "as:"`,
    )
  if (parameter.length > MAX_NAME)
    entity.report.fault(
      at,
      `the parameter ${parameter} would be longer than the ${MAX_NAME} characters PostgreSQL keeps: shorten the entity`,
    )
  const type = (entity.fields.get('id') ?? UNKNOWN).sql
  const row = scope.subject()
  body.variables.set(row.sql, rowType(entity))
  return {
    name,
    parameters: [{ name: parameter, type }, ...own],
    returns: returned,
    returnedFields,
    subject: { row, parameter },
    body,
  }
}

/** Callbacks belong to entity, service and operation, whichever step calls it. */
class CallbackPlanner {
  readonly #entity: Entity
  readonly #context: PlanContext
  readonly #groups = new Map<string, { group: CallbackGroup; source: string; at: Place }>()
  /** Which operations the callbacks of each operation call. */
  readonly #edges = new Map<string, Set<string>>()

  constructor(entity: Entity, context: PlanContext) {
    this.#entity = entity
    this.#context = context
  }

  add(calls: readonly FoundCall[]): void {
    for (const { step, operation } of calls) this.#addCall(step, operation)
  }

  #addCall(step: CallStep, operation: CompiledOperation): void {
    const { name: service } = operation.service.checked.service
    const key = keyOf(operation)
    const source = sourceOf([step.onSuccess, step.onFailure])
    const known = this.#groups.get(key)
    if (known !== undefined) {
      if (known.source !== source)
        this.#entity.report.fault(
          step.at,
          `another step of ${this.#entity.name} calls ${service}.${operation.operation.name} with other callbacks; they are registered once for an entity, service and operation, so all of its steps must have the same`,
        )
      return
    }
    const group: CallbackGroup = { service, operation: operation.operation.name, success: null, failure: null }
    this.#groups.set(key, { group, source, at: step.at })
    group.success = this.#plan(step, operation, 'success', step.onSuccess)
    group.failure = this.#plan(step, operation, 'failure', step.onFailure)
  }

  #plan(
    { at }: CallStep,
    operation: CompiledOperation,
    outcome: 'success' | 'failure',
    steps: readonly Step[] | null,
  ): CallbackPlan | null {
    if (steps === null) return null
    const { name: service } = operation.service.checked.service
    const name = callbackName(this.#entity.name, service, operation.operation.name, outcome)
    if (name === null) {
      this.#entity.report.fault(
        at,
        `the callback's name would be longer than the ${MAX_NAME} characters PostgreSQL keeps: shorten the entity, the service or the operation`,
      )
      return null
    }
    const scope = new FunctionScope(this.#entity, new Map(), {
      outcome,
      operation: `${service}.${operation.operation.name}`,
      outputSchema: operation.schemas.output.schema,
    })
    const planner = new BodyPlanner(this.#entity, this.#context, scope, new Map())
    planner.plan(steps, true)
    const subject = scope.subject()
    planner.body.variables.set(subject.sql, rowType(this.#entity))
    const key = keyOf(operation)
    const edges = this.#edges.get(key) ?? new Set()
    for (const call of planner.calls) edges.add(keyOf(call.operation))
    this.#edges.set(key, edges)
    this.add(planner.calls)
    return { name, outcome, subject, body: planner.body }
  }

  /** The groups that have a callback; a circle of them is a fault, since it would never end. */
  finish(): CallbackGroup[] {
    for (const [key, { group, at }] of this.#groups) {
      const circle = this.#findCircle(key, key, new Set())
      if (circle !== null)
        this.#entity.report.fault(
          at,
          `the callbacks of ${group.service}.${group.operation} call it again (${circle.join(' → ')}), so its jobs would never end`,
        )
    }
    return [...this.#groups.values()]
      .map(({ group }) => group)
      .filter(({ success, failure }) => success !== null || failure !== null)
  }

  #findCircle(from: string, wanted: string, seen: Set<string>): string[] | null {
    for (const next of this.#edges.get(from) ?? []) {
      if (next === wanted) return [from, next]
      if (seen.has(next)) continue
      seen.add(next)
      const rest = this.#findCircle(next, wanted, seen)
      if (rest !== null) return [from, ...rest]
    }
    return null
  }
}

/** A call in a callback that is the job of another step, made before the callback can run, is never made itself. */
function refuseSwallowed(steps: readonly Step[], made: ReadonlySet<string>, entity: Entity): void {
  const calls = steps.filter((step) => step.kind === 'call')
  const names = calls.map(({ service, operation }) => `${service.text}.${operation.text}`)
  for (const [index, call] of calls.entries()) {
    const name = names[index] ?? ''
    if (call.key.length === 0 && made.has(name.toLowerCase()))
      entity.report.fault(
        call.at,
        `a step outside of this callback calls ${name} without a key too, so this would be the same job: add "key:" with what makes it another one`,
      )
    const others = names.filter((_, other) => other !== index && calls[other]?.key.length === 0)
    const before = new Set([...made, ...others.map((other) => other.toLowerCase())])
    for (const callback of [call.onSuccess, call.onFailure])
      if (callback !== null) refuseSwallowed(callback, before, entity)
  }
}

function keyOf({ service, operation }: CompiledOperation): string {
  return `${service.checked.service.name}.${operation.name}`.toLowerCase()
}

/** The steps as text, without the places where they stand. */
function sourceOf(steps: unknown): string {
  return JSON.stringify(steps, (key, value: unknown) => {
    if (key === 'at' || key === 'keyAt') return undefined
    return value instanceof Map ? [...value] : value
  })
}
