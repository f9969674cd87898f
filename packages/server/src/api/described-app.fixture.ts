import { EXECUTOR_POLICY } from '../domain/sandbox-policy.ts'
import { createLogger } from '../platform/logger.ts'
import type { ApiApp } from './api-app.ts'
import type { ApiContext } from './api-context.ts'
import { createHttpApp } from './http-app.ts'

/** The HTTP side with all routes, those of the facade too, and nothing behind them: for its description. */
export async function createDescribedApp(version: string): Promise<ApiApp> {
  const routesOnly = {
    version,
    logger: createLogger('docs', 'silent'),
    corsOrigins: [],
    trustedProxies: [],
    facade: { hosts: [], ceilings: EXECUTOR_POLICY.limits, seesEnvironments: true },
  } satisfies Partial<ApiContext>
  const app = await createHttpApp(routesOnly as unknown as ApiContext)
  await app.ready()
  return app
}
