import { randomUUID } from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { JobPayloadInput, TokenScope } from '@ergon/contract'
import pino from 'pino'
import type { ApiApp } from '../../src/api/api-app.ts'
import type { ApiContext } from '../../src/api/api-context.ts'
import { signingKeyOf } from '../../src/api/artifacts/signing-key.ts'
import { createHttpApp } from '../../src/api/http-app.ts'
import { JobWatcher } from '../../src/api/live/job-watcher.ts'
import { OpenWaits } from '../../src/api/live/open-waits.ts'
import { TokenDirectory } from '../../src/api/token-directory.ts'
import { Turns } from '../../src/api/turns.ts'
import { FilesystemArtifactStore } from '../../src/artifacts/filesystem-store.ts'
import { openRegistryText } from '../../src/control/registry-file.ts'
import { createToken } from '../../src/control/tokens.ts'
import { createPool, type DatabasePool } from '../../src/platform/db/database.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'

export const TENANT_A = 'aaaaaaaa-0000-4000-8000-000000000001'
export const TENANT_B = 'bbbbbbbb-0000-4000-8000-000000000002'
const EVERY_SCOPE: readonly TokenScope[] = ['submit', 'entities', 'read', 'cancel', 'artifacts', 'admin']

const REGISTRY = `services:
  - name: Echo
    type: tests
    category: tests
    runner_config: {base_url: "https://echo.example.org"}
    operations:
      - name: say
        timeout: 20
        max_retries: 1
        input_schema: {type: object, required: [words], additionalProperties: false, properties: {words: {type: string}, n: {type: number}}}
`

/** The HTTP side on a database of its own, with tokens of two tenants and one for all. */
export interface TestApi {
  db: TestDatabase
  app: ApiApp
  context: ApiContext
  /** What the API itself signs in with. */
  pool: DatabasePool
  store: FilesystemArtifactStore
  /** Holds the store and the spool. */
  folder: string
  tokens: { a: string; b: string; all: string }
  token(scopes: readonly TokenScope[], tenantId: string | null, rateLimitPerMinute?: number): Promise<string>
  close(): Promise<void>
}

export async function startTestApi(change: Partial<ApiContext> = {}): Promise<TestApi> {
  const db = await createTestDatabase()
  const pool = createPool(db.url('ergon_api'), { maxConnections: 10, applicationName: 'ergon-api', isPipelined: true })
  const watcher = new JobWatcher(new TenantDatabase(pool, 'all'), () => {})
  const registry = openRegistryText(REGISTRY, 'registry.yaml', 'development')
  const folder = await mkdtemp(path.join(tmpdir(), 'ergon-api-'))
  await mkdir(path.join(folder, 'artifacts'))
  const store = new FilesystemArtifactStore(path.join(folder, 'artifacts'))
  const context: ApiContext = {
    version: '0.0.0',
    pool,
    tokens: new TokenDirectory(pool),
    watcher,
    waits: new OpenWaits(),
    lists: new Turns(4),
    logger: pino({ level: 'silent' }),
    registry: () => registry,
    findOperation: (service, operation) => registry.operationOf(service, operation),
    listEnvironments: () => Promise.resolve([]),
    openArtifact: (digest, range) => store.read(digest, range),
    artifactSize: (digest) => store.size(digest),
    storeArtifact: (file, digest) => store.put(file, digest),
    freeBytes: () => store.freeBytes(),
    spool: path.join(folder, 'spool'),
    signingKey: signingKeyOf(pool),
    facade: null,
    corsOrigins: ['https://app.example.org'],
    trustedProxies: [],
    isStopping: () => false,
    ...change,
  }
  const app = await createHttpApp(context)
  const token: TestApi['token'] = async (scopes, tenantId, rateLimitPerMinute) => {
    const made = await createToken(db.admin, {
      name: 'test',
      scopes,
      tenantId,
      expiresAt: null,
      rateLimitPerMinute: rateLimitPerMinute ?? null,
    })
    return made.text
  }
  return {
    db,
    app,
    context,
    pool,
    store,
    folder,
    tokens: {
      a: await token(EVERY_SCOPE, TENANT_A),
      b: await token(EVERY_SCOPE, TENANT_B),
      all: await token(EVERY_SCOPE, null),
    },
    token,
    async close() {
      watcher.stop()
      await app.close()
      await pool.end()
      await db.drop()
      await rm(folder, { recursive: true })
    },
  }
}

/** What `app.inject` takes, with a bearer's header. */
export function as(token: string, headers: Record<string, string> = {}): { headers: Record<string, string> } {
  return { headers: { authorization: `Bearer ${token}`, ...headers } }
}

/** The smallest payload of the job contract. */
export function payload(change: Partial<JobPayloadInput> = {}): JobPayloadInput {
  return {
    schema_version: '1.0',
    job_id: randomUUID(),
    job_type: 'object_execute',
    environment: { language: 'python', env_version: 'python-sci' },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: 'print(1)' },
        runtime: { language: 'python' },
      },
    },
    ...change,
  }
}
