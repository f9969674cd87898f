import type { ApiContext } from '../api-context.ts'
import type { ApiApp } from '../api-app.ts'
import { addFacadeRoutes } from './facade.ts'
import { addHealthRoutes } from './health.ts'
import { addJobActionRoutes } from './job-actions.ts'
import { addJobRoutes } from './jobs.ts'
import { addSubmitRoutes } from './submit.ts'

/** Every route. A new one is a file beside this and a line here: docs/api.md says how. */
export function addRoutes(app: ApiApp, context: ApiContext): void {
  for (const add of [addHealthRoutes, addSubmitRoutes, addJobRoutes, addJobActionRoutes, addFacadeRoutes])
    add(app, context)
}
