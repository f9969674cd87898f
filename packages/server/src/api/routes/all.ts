import type { ApiApp } from '../api-app.ts'
import type { ApiContext } from '../api-context.ts'
import { addCallbackRoutes } from './callbacks.ts'
import { addFacadeRoutes } from './facade.ts'
import { addHealthRoutes } from './health.ts'
import { addJobActionRoutes } from './job-actions.ts'
import { addJobRoutes } from './jobs.ts'
import { addLiveRoutes } from './live.ts'
import { addSubmitRoutes } from './submit.ts'

const ROUTES = [
  addCallbackRoutes,
  addFacadeRoutes,
  addHealthRoutes,
  addJobActionRoutes,
  addJobRoutes,
  addLiveRoutes,
  addSubmitRoutes,
]

/** Every route. A new one is a file beside this and a line here: docs/api.md says how. */
export function addRoutes(app: ApiApp, context: ApiContext): void {
  for (const add of ROUTES) add(app, context)
}
