import type { ApiContext } from '../api-context.ts'
import type { ApiApp } from '../api-app.ts'
import { addArtifactContentRoute } from './artifact-content.ts'
import { addArtifactRoutes } from './artifacts.ts'
import { addDatasetRoutes } from './datasets.ts'
import { addHealthRoutes } from './health.ts'
import { addJobActionRoutes } from './job-actions.ts'
import { addJobLogsRoute } from './job-logs.ts'
import { addJobRoutes } from './jobs.ts'
import { addOperationsRoutes } from './operations.ts'
import { addServiceRoutes } from './services.ts'
import { addSubmitRoutes } from './submit.ts'

const ROUTES = [
  addHealthRoutes,
  addSubmitRoutes,
  addJobRoutes,
  addJobActionRoutes,
  addJobLogsRoute,
  addArtifactRoutes,
  addArtifactContentRoute,
  addDatasetRoutes,
  addServiceRoutes,
  addOperationsRoutes,
]

/** Every route. A new one is a file beside this and a line here: docs/api.md says how. */
export function addRoutes(app: ApiApp, context: ApiContext): void {
  for (const add of ROUTES) add(app, context)
}
