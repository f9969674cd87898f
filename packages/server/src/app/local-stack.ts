import { availableParallelism, hostname } from 'node:os'
import type { HomePaths } from '../config/home-paths.ts'
import { secretStoresOf } from '../config/secret-stores.ts'
import type { Settings } from '../config/settings.ts'
import { executorPolicyOf } from '../domain/profiles.ts'
import { createPool } from '../platform/db/database.ts'
import { describeDatabase } from '../platform/db/describe-database.ts'
import { migrate } from '../platform/db/migrate.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import { EmbeddedPostgres } from '../platform/postgres/embedded-postgres.ts'
import { SupervisedPostgres } from '../platform/postgres/supervised-postgres.ts'
import type { OsUser } from '../platform/process/os-user.ts'
import { type ProcessCommand, SupervisedProcess } from '../platform/process/supervised-process.ts'
import { examineIsolation } from './doctor.ts'
import { ensureSigningKey } from './find-signing-key.ts'
import { DATABASE_USER, prepareHome, workerUser } from './prepare-home.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import { RegistryFeed } from './registry-feed.ts'
import { readEngineAccess } from './engine-access.ts'
import { defaultLanes, lanesApart } from './served-lanes.ts'
import { SecretRenewal } from './secret-renewal.ts'
import { sandboxdCommand } from './sandboxd-command.ts'
import { readUplinkNeeds, requireUplinkHere, requireUplinkOf } from './uplink-needs.ts'
import type { StackNeed, StackRequest } from './stack-protocol.ts'
import { VERSION } from './version.ts'
import { workerCommand } from './worker-command.ts'
import { type LoginGroup, workerDatabaseUrl } from './worker-database-url.ts'

const READY_TIMEOUT_MS = 20_000

export interface LocalStackOptions {
  settings: Settings
  paths: HomePaths
  logger: Logger
  /** What the registry's references are looked up in: the environment of whoever started this process. */
  env: Readonly<Record<string, string | undefined>>
  /** TCP port of the embedded server on 127.0.0.1; without it there is only the unix socket. */
  port?: number
  slots?: number
  /** Whether this stack is here to stay, so that importing libraries ahead of the first job pays. */
  warmUp?: boolean
  sandboxSlots?: number
  /** How long a stopping worker waits for the jobs it holds before it hands them back. */
  drainMs?: number
}

export interface DatabaseUrls {
  databaseUrl: string
  workerDatabaseUrl: string
  callbackDatabaseUrl: string
  apiDatabaseUrl: string
}

/** What a command learns of the running stack; a stack without a database has no URLs. */
export type Provision = DatabaseUrls | { [Url in keyof DatabaseUrls]: null }

/** Database, sandboxd and worker of one ERGON_HOME on this machine, each started when first needed and kept alive. */
export class LocalStack {
  readonly #options: LocalStackOptions
  #postgres: SupervisedPostgres | null = null
  readonly #processes: SupervisedProcess[] = []
  #user: OsUser | null = null
  readonly #database = new Startup<DatabaseUrls>()
  readonly #sandboxd = new Startup<void>()
  readonly #worker = new Startup<void>()
  #hasSandboxd = false
  readonly #divisions: readonly Division[]

  constructor(options: LocalStackOptions) {
    this.#options = options
    const { settings, env, logger } = options
    const { registry: file, profile } = settings
    const requireHost = async (bundle: RegistryBundle) => {
      // What the first version needs, sandboxd is started with.
      if (this.#hasSandboxd) await requireUplinkOf(bundle, options.paths.sandboxdSocket)
    }
    // Only a registry's services run apart, so without one there is nobody to serve there.
    const apart = file === null ? [] : lanesApart(settings).map((lane) => [lane])
    this.#divisions = [defaultLanes(settings), ...apart].map((lanes) => ({
      lanes,
      feed:
        file === null
          ? null
          : new RegistryFeed({
              file,
              profile,
              env,
              executionTypes: lanes,
              acceptedRisks: settings.acceptedRisks,
              secretStores: secretStoresOf(settings),
              logger,
              requireHost,
            }),
      process: null,
      renewal: null,
    }))
  }

  /** Makes the folders; throws a coded error when the host lacks something that no part can do without. */
  async prepare(): Promise<void> {
    this.#user = workerUser()
    await prepareHome(this.#options.paths, this.#user)
  }

  /** Answers a command: what it needs is running when this resolves. */
  async provide(request: StackRequest): Promise<Provision> {
    const { settings } = this.#options
    if (request.need !== 'sandboxd' && request.databaseUrl !== settings.databaseUrl) {
      throw new ErgonError(
        'ALREADY_RUNNING',
        `the running stack of ${settings.home} uses ${describe(settings.databaseUrl)}, this command ${describe(request.databaseUrl)}: stop the one or choose another ERGON_HOME`,
      )
    }
    if (request.registry !== null && request.registry !== settings.registry) {
      throw new ErgonError(
        'ALREADY_RUNNING',
        `the running stack of ${settings.home} serves ${settings.registry === null ? 'no service registry' : `the service registry ${settings.registry}`}, this command needs ${request.registry}: stop the stack and start it with --registry, or choose another ERGON_HOME`,
      )
    }
    return this.ensure(request.need)
  }

  async ensure(need: StackNeed): Promise<Provision> {
    if (need === 'sandboxd') {
      await this.#ensureSandboxd()
      return { databaseUrl: null, workerDatabaseUrl: null, callbackDatabaseUrl: null, apiDatabaseUrl: null }
    }
    const database = this.#ensureDatabase()
    if (need === 'worker') {
      await Promise.all([database, this.#ensureSandboxd()])
      const urls = await database
      await this.#worker.ensure(() => this.#startWorkers(urls))
    }
    return database
  }

  /** Reads the registry again and gives it to the worker; true when its new version is valid and serves. */
  async reloadRegistry(): Promise<boolean> {
    const reloaded = await Promise.all(
      this.#divisions.map(async ({ feed, process }) => {
        const bundle = feed === null || feed.current === null ? null : await feed.reload()
        if (bundle !== null) process?.tell(JSON.stringify({ registry: bundle }))
        return bundle !== null
      }),
    )
    return reloaded.every(Boolean)
  }

  /** Stops everything in the order of dependence; what this stack did not start stays. */
  async stop(): Promise<void> {
    await Promise.all([this.#database, this.#sandboxd, this.#worker].map((part) => part.settled()))
    for (const { renewal } of this.#divisions) renewal?.stop()
    for (const process of this.#processes.toReversed()) await process.stop()
    await this.#postgres?.stop()
  }

  #ensureDatabase(): Promise<DatabaseUrls> {
    return this.#database.ensure(() => this.#startDatabase())
  }

  #ensureSandboxd(): Promise<void> {
    return this.#sandboxd.ensure(() => this.#startSandboxd())
  }

  async #startDatabase(): Promise<DatabaseUrls> {
    const { settings, logger, port = null } = this.#options
    const { home, cache, databaseUrl } = settings
    if (databaseUrl !== null) return this.#prepareDatabase(databaseUrl)
    const createServer = () => new EmbeddedPostgres({ home, cache, osUser: DATABASE_USER, logger, port })
    const postgres = new SupervisedPostgres(createServer, logger)
    try {
      const urls = await this.#prepareDatabase(await postgres.start())
      this.#postgres = postgres
      return urls
    } catch (error) {
      await postgres.stop()
      throw error
    }
  }

  async #prepareDatabase(databaseUrl: string): Promise<DatabaseUrls> {
    const pool = createPool(databaseUrl, { maxConnections: 1, applicationName: 'ergon-setup' })
    try {
      await migrate(pool)
      const signIn = (group: LoginGroup) => workerDatabaseUrl(pool, databaseUrl, this.#options.paths.credentials, group)
      return {
        databaseUrl,
        workerDatabaseUrl: await signIn('ergon_worker'),
        callbackDatabaseUrl: await signIn('ergon_callback'),
        apiDatabaseUrl: await signIn('ergon_api'),
      }
    } finally {
      await pool.end()
    }
  }

  async #startSandboxd(): Promise<void> {
    const { settings, paths, logger } = this.#options
    if (process.getuid?.() !== 0) await requireRootlessIsolation(settings)
    const user = this.#workerUser()
    const uplink = await readUplinkNeeds(settings)
    await requireUplinkHere(uplink, settings)
    await this.#run('sandboxd', () => sandboxdCommand(paths, user, settings.sandboxRuntime, uplink), logger, 5_000)
    this.#hasSandboxd = true
  }

  async #startWorkers(urls: DatabaseUrls): Promise<void> {
    for (const { feed } of this.#divisions) await feed?.load()
    for (const division of this.#divisions) {
      const { feed } = division
      const tell = (registry: RegistryBundle) => division.process?.tell(JSON.stringify({ registry }))
      if (feed !== null) division.renewal = new SecretRenewal(feed, tell, this.#options.logger)
      division.process = await this.#startWorker(division, urls)
      division.renewal?.start()
    }
  }

  async #startWorker({ lanes, feed, renewal }: Division, urls: DatabaseUrls): Promise<SupervisedProcess> {
    const { settings, paths, logger, slots, sandboxSlots, warmUp = false, drainMs = 5_000 } = this.#options
    const access = lanes.includes('docker') ? await readEngineAccess(settings) : null
    const config = {
      name: hostname(),
      version: VERSION,
      home: settings.home,
      environments: settings.environments,
      databaseUrl: urls.workerDatabaseUrl,
      // A worker with an engine is as good as root, and does nothing else.
      callbackDatabaseUrl: access === null ? urls.callbackDatabaseUrl : null,
      // A container takes of the machine what a sandbox does.
      slots: access === null ? (slots ?? 32) : (sandboxSlots ?? availableParallelism()),
      sandboxSlots: sandboxSlots ?? availableParallelism(),
      lanes: [...lanes],
      warmUp: warmUp && access === null,
      drainMs,
      logLevel: settings.logLevel,
      sandboxRuntime: settings.sandboxRuntime,
      executorPolicy: JSON.stringify(executorPolicyOf(settings.profile, settings.executorPolicy)),
      dockerEngine: access?.engine ?? null,
      signingKey: await ensureSigningKey(settings, paths),
    }
    const user = this.#workerUser()
    // Its registry as it is at each start.
    const command = () =>
      workerCommand({ ...config, registry: feed?.current ?? null }, paths, user, access?.socketGroup ?? null)
    const onLine = (line: string) => renewal?.hear(line)
    return this.#run(access === null ? 'worker' : 'docker worker', command, logger, drainMs + 10_000, onLine)
  }

  async #run(
    name: string,
    command: () => ProcessCommand,
    logger: Logger,
    stopTimeoutMs: number,
    onLine: (line: string) => void = () => {},
  ): Promise<SupervisedProcess> {
    const readyTimeoutMs = READY_TIMEOUT_MS
    const child = new SupervisedProcess({ name, command, readyTimeoutMs, stopTimeoutMs, logger, onLine })
    await child.start()
    this.#processes.push(child)
    return child
  }

  #workerUser(): OsUser {
    this.#user ??= workerUser()
    return this.#user
  }
}

/** One worker process, the lanes that it serves and its share of the registry. */
interface Division {
  lanes: readonly string[]
  feed: RegistryFeed | null
  process: SupervisedProcess | null
  renewal: SecretRenewal | null
}

/** Starts something once, whoever asks meanwhile. A start that failed is forgotten: what was in its way may be gone at the next use. */
class Startup<T> {
  #started: Promise<T> | null = null

  ensure(start: () => Promise<T>): Promise<T> {
    this.#started ??= start().catch((error: unknown) => {
      this.#started = null
      throw error
    })
    return this.#started
  }

  /** Resolves when no start is under way. */
  async settled(): Promise<void> {
    await this.#started?.catch(() => {})
  }
}

/** Root has what sandboxes need or a broken host; an ordinary user has it only in a delegated cgroup, with ids of their own. */
async function requireRootlessIsolation(settings: Settings): Promise<void> {
  const lacking = (await examineIsolation(settings)).filter(({ ok }) => !ok)
  if (lacking.length === 0) return
  const reasons = lacking.map(({ check, detail, remedy }) => `${check}: ${detail} (${remedy})`).join('; ')
  throw new ErgonError(
    'HOST_CANNOT_ISOLATE',
    `an ordinary user can't make sandboxes here. Run the command with sudo, or: ${reasons}`,
  )
}

function describe(databaseUrl: string | null): string {
  if (databaseUrl === null) return 'the embedded database'
  return `the database at ${describeDatabase(databaseUrl)}`
}
