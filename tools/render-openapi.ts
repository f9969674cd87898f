import { createDescribedApp } from '../packages/server/src/api/described-app.fixture.ts'
import { VERSION } from '../packages/server/src/app/version.ts'

/** docs/openapi.json: what a running API serves as /openapi.json. */
export async function renderOpenApi(): Promise<string> {
  const app = await createDescribedApp(VERSION)
  try {
    return `${JSON.stringify(app.swagger(), null, 2)}\n`
  } finally {
    await app.close()
  }
}
