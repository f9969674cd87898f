import { makeVisible } from '../../platform/text/sanitise-output.ts'
import type { EntityPlan, SnippetPlan } from '../plan/plan.ts'
import { emitCall } from './emit-call.ts'
import { emitAction, emitCallbacks } from './emit-function.ts'

/** The first words of every compiled file. */
export const HEADER = '-- Compiled by ergon'

/** The SQL of one entity: its functions and callbacks, or its calls as snippets and then the callbacks. */
export function emitEntity(plan: EntityPlan, version: string): string {
  const { entity } = plan
  const parts = [
    `${HEADER} ${comment(version)} from ${comment(entity.file)}, sha256:${entity.digest}. Changes belong there.\n`,
    ...plan.actions.map((action) => emitAction(entity, action)),
    ...plan.snippets.map((snippet) => emitSnippet(entity.schema, snippet)),
  ]
  if (plan.snippets.length > 0 && plan.callbacks.length > 0)
    parts.push('-- Callbacks: to be run once, outside of any function.\n')
  return [...parts, ...plan.callbacks.map((group) => emitCallbacks(entity, group))].join('\n')
}

/** A step for the body of a function generated elsewhere, which declares the variable. */
function emitSnippet(schema: string, { action, step, call }: SnippetPlan): string {
  return [
    `-- ergon:snippet ${schema}.${action} step ${step} declare ${call.variable} uuid;`,
    ...emitCall(call),
    '-- ergon:end',
    '',
  ].join('\n')
}

/** Without what would end the comment or be seen as something else. */
function comment(text: string): string {
  return makeVisible(text)
    .replace(/[^\u0020-\u007e]|\$/g, '?')
    .slice(0, 200)
}
