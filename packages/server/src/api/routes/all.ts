import type { ApiApp } from '../api-app.ts'
import type { ApiContext } from '../api-context.ts'
import { addArtifactContentRoute } from './artifact-content.ts'
import { addArtifactRoutes } from './artifacts.ts'
import { addCallbackRoutes } from './callbacks.ts'
import { addDatasetRoutes } from './datasets.ts'
import { addFacadeRoutes } from './facade.ts'
import { addHealthRoutes } from './health.ts'
import { addJobActionRoutes } from './job-actions.ts'
import { addJobLogsRoute } from './job-logs.ts'
import { addJobRoutes } from './jobs.ts'
import { addLiveRoutes } from './live.ts'
import { addOperationsRoutes } from './operations.ts'
import { addServiceRoutes } from './services.ts'
import { addSubmitRoutes } from './submit.ts'

const ROUTES = [
  addArtifactContentRoute,
  addArtifactRoutes,
  addCallbackRoutes,
  addDatasetRoutes,
  addFacadeRoutes,
  addHealthRoutes,
  addJobActionRoutes,
  addJobLogsRoute,
  addJobRoutes,
  addLiveRoutes,
  addOperationsRoutes,
  addServiceRoutes,
  addSubmitRoutes,
]

/** Every route. A new one is a file beside this and a line here: docs/api.md says how. */
export function addRoutes(app: ApiApp, context: ApiContext): void {
  for (const add of ROUTES) add(app, context)
}
