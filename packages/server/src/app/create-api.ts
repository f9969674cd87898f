import type { AddressInfo } from 'node:net'
import type { ApiContext } from '../api/api-context.ts'
import { createHttpApp } from '../api/http-app.ts'
import { EndBell } from '../api/live/end-bell.ts'
import { JobWatcher } from '../api/live/job-watcher.ts'
import { OpenWaits } from '../api/live/open-waits.ts'
import { TokenDirectory } from '../api/token-directory.ts'
import { Turns } from '../api/turns.ts'
import { signingKeyOf } from '../api/artifacts/signing-key.ts'
import { FilesystemArtifactStore } from '../artifacts/filesystem-store.ts'
import { ProcessSpool } from '../artifacts/process-spool.ts'
import { homePaths } from '../config/home-paths.ts'
import { forgetIdempotencyKeys } from '../control/idempotency.ts'
import { type OpenRegistry, openRegistryText } from '../control/registry-file.ts'
import { createPool } from '../platform/db/database.ts'
import { ListenConnection } from '../platform/db/listen-connection.ts'
import { requireCurrentSchema } from '../platform/db/require-current-schema.ts'
import { TenantDatabase } from '../platform/db/tenant-database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { createLogger, type Logger } from '../platform/logger.ts'
import { IntervalLoop } from '../platform/process/interval-loop.ts'
import { listEnvironments } from '../sandbox/environments/installed-environments.ts'
import type { ApiProcessConfig, RegistryText } from './api-process-config.ts'

const MAX_CONNECTIONS = 10
/** Connections that lists may use at a time; streams have as many. */
const LISTING = 4
/** Of one token; a waiting request costs some kilobytes. */
const MOST_LISTS_WAITING = 1_000
const STATEMENT_TIMEOUT_MS = 12_000
const QUERY_TIMEOUT_MS = 15_000
const SWEEP_MS = 60_000
const SWEPT_AT_ONCE = 10_000
/** How long answers that are under way may take once the API stops. */
const DRAIN_MS = 10_000

export interface Api {
  readonly logger: Logger
  /** Listens when this resolves; gives the address. Throws CONFIG_INVALID where it cannot. */
  start(): Promise<string>
  replaceRegistry(registry: RegistryText): void
  /** Takes no new requests, lets those under way end, and closes what is open. */
  stop(): Promise<void>
}

/** All wiring of an API process. */
export async function createApi(config: ApiProcessConfig): Promise<Api> {
  const logger = createLogger('ergon-api', config.logLevel)
  const paths = homePaths(config)
  const pool = createPool(config.databaseUrl, {
    maxConnections: MAX_CONNECTIONS,
    applicationName: 'ergon-api',
    queryTimeoutMs: QUERY_TIMEOUT_MS,
    statementTimeoutMs: STATEMENT_TIMEOUT_MS,
    isPipelined: true,
  })
  await requireCurrentSchema(pool, config.databaseUrl)
  const everyTenant = new TenantDatabase(pool, 'all')
  const tokens = new TokenDirectory(pool)
  const listener = new ListenConnection({
    url: config.databaseUrl,
    applicationName: 'ergon-api-listen',
    channels: {
      ergon_token: (id) => tokens.forget(id),
      ergon_end: (ids) => watcher.ring(ids),
    },
    // What was told meanwhile is not known.
    onConnect: () => {
      tokens.forget()
      bell.lose()
    },
    onLoss: (error) => {
      bell.lose()
      logger.warn({ err: error }, 'the listening connection is away; revoked tokens end some seconds later')
    },
  })
  const bell = new EndBell(() => (listener.isConnected ? listener : null))
  const watcher = new JobWatcher(
    everyTenant,
    (error) => logger.warn({ err: error }, 'jobs that are waited for cannot be looked at'),
    bell,
  )
  const store = new FilesystemArtifactStore(paths.artifacts)
  const spool = new ProcessSpool(paths.apiSpool, {
    onError: (error) => logger.warn({ err: error }, 'the spool of uploads cannot be swept; it is tried again'),
  })
  let registry: OpenRegistry | null = config.registry === null ? null : open(config.registry)
  let isStopping = false
  const context: ApiContext = {
    version: config.version,
    pool,
    tokens,
    watcher,
    waits: new OpenWaits(),
    lists: new Turns(LISTING, { mostWaiting: MOST_LISTS_WAITING }),
    logger,
    registry: () => registry,
    findOperation: (service, operation) => requireRegistry(registry).operationOf(service, operation),
    listEnvironments: async () => {
      const installed = await listEnvironments(paths.environments)
      return installed.map(({ name, envVersion, language, isDefault }) => ({
        name,
        env_version: envVersion,
        language,
        is_default: isDefault,
      }))
    },
    openArtifact: (digest, range) => store.read(digest, range),
    artifactSize: (digest) => store.size(digest),
    storeArtifact: (file, digest) => store.put(file, digest),
    freeBytes: () => store.freeBytes(),
    spool: spool.folder,
    signingKey: signingKeyOf(pool),
    facade: config.facade,
    corsOrigins: config.corsOrigins,
    trustedProxies: config.trustedProxies,
    isStopping: () => isStopping,
  }
  const app = await createHttpApp(context)
  const sweep = new IntervalLoop({
    intervalMs: SWEEP_MS,
    turn: async () => {
      while ((await forgetIdempotencyKeys(pool, SWEPT_AT_ONCE)) === SWEPT_AT_ONCE);
    },
    onError: (error) => logger.warn({ err: error }, 'old idempotency keys could not be removed'),
  })
  return {
    logger,
    async start() {
      await spool.start()
      await listener.start()
      sweep.start()
      try {
        await app.listen({ host: config.host, port: config.port })
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error)
        throw new ErgonError(
          'CONFIG_INVALID',
          `ERGON_API_LISTEN: ${config.host}:${config.port} cannot be listened on: ${reason}`,
        )
      }
      return urlOf(config.host, app.server.address())
    },
    replaceRegistry(text) {
      registry = open(text)
    },
    async stop() {
      if (isStopping) return
      isStopping = true
      const cut = setTimeout(() => app.server.closeAllConnections(), DRAIN_MS)
      watcher.stop()
      await app.close()
      clearTimeout(cut)
      await sweep.stop()
      await listener.stop()
      await pool.end()
      await spool.stop()
    },
  }
}

function open({ file, text, profile }: RegistryText): OpenRegistry {
  return openRegistryText(text, file, profile)
}

function requireRegistry(registry: OpenRegistry | null): OpenRegistry {
  if (registry !== null) return registry
  throw new ErgonError(
    'SERVICE_NOT_FOUND',
    'this API has no service registry, so only payloads of the job contract can be submitted; start it with --registry FILE',
  )
}

function urlOf(host: string, address: AddressInfo | string | null): string {
  const port = typeof address === 'object' && address !== null ? address.port : 0
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}
