import type { ApiContext } from '../packages/server/src/api/api-context.ts'
import { createHttpApp } from '../packages/server/src/api/http-app.ts'
import { EXECUTOR_POLICY } from '../packages/server/src/domain/sandbox-policy.ts'
import { createLogger } from '../packages/server/src/platform/logger.ts'
import { VERSION } from '../packages/server/src/app/version.ts'

/** docs/openapi.json: what a running API serves as /openapi.json. Nothing of it is asked for more than its routes. */
export async function renderOpenApi(): Promise<string> {
  const routesOnly = {
    version: VERSION,
    logger: createLogger('docs', 'silent'),
    corsOrigins: [],
    trustedProxies: [],
    // With the facade's routes, which not every API serves.
    facade: { hosts: [], ceilings: EXECUTOR_POLICY.limits, seesEnvironments: true },
  } satisfies Partial<ApiContext>
  const app = await createHttpApp(routesOnly as unknown as ApiContext)
  try {
    await app.ready()
    return `${JSON.stringify(app.swagger(), null, 2)}\n`
  } finally {
    await app.close()
  }
}
