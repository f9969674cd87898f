import { availableParallelism, hostname } from 'node:os'
import type { HomePaths } from '../config/home-paths.ts'
import type { Settings } from '../config/settings.ts'
import { createPool } from '../platform/db/database.ts'
import { describeDatabase } from '../platform/db/describe-database.ts'
import { migrate } from '../platform/db/migrate.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import { EmbeddedPostgres } from '../platform/postgres/embedded-postgres.ts'
import { SupervisedPostgres } from '../platform/postgres/supervised-postgres.ts'
import type { OsUser } from '../platform/process/os-user.ts'
import { SupervisedProcess } from '../platform/process/supervised-process.ts'
import { examineIsolation } from './doctor.ts'
import { DATABASE_USER, prepareHome, workerUser } from './prepare-home.ts'
import { sandboxdCommand } from './sandboxd-command.ts'
import type { StackNeed, StackRequest } from './stack-protocol.ts'
import { VERSION } from './version.ts'
import { workerCommand } from './worker-command.ts'
import { workerDatabaseUrl } from './worker-database-url.ts'

const READY_TIMEOUT_MS = 20_000

export interface LocalStackOptions {
  settings: Settings
  paths: HomePaths
  logger: Logger
  /** TCP port of the embedded server on 127.0.0.1; without it there is only the unix socket. */
  port?: number
  slots?: number
  sandboxSlots?: number
  /** How long a stopping worker waits for the jobs it holds before it hands them back. */
  drainMs?: number
}

export interface DatabaseUrls {
  databaseUrl: string
  workerDatabaseUrl: string
}

/** What a command learns of the running stack; a stack without a database has no URLs. */
export type Provision = DatabaseUrls | { databaseUrl: null; workerDatabaseUrl: null }

/** Database, sandboxd and worker of one ERGON_HOME on this machine, each started when first needed and kept alive. */
export class LocalStack {
  readonly #options: LocalStackOptions
  #postgres: SupervisedPostgres | null = null
  readonly #processes: SupervisedProcess[] = []
  #user: OsUser | null = null
  #database: Promise<DatabaseUrls> | null = null
  #sandboxd: Promise<void> | null = null
  #worker: Promise<void> | null = null

  constructor(options: LocalStackOptions) {
    this.#options = options
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
    return this.ensure(request.need)
  }

  async ensure(need: StackNeed): Promise<Provision> {
    if (need === 'sandboxd') {
      await this.#ensureSandboxd()
      return { databaseUrl: null, workerDatabaseUrl: null }
    }
    const database = this.#ensureDatabase()
    if (need === 'worker') {
      await Promise.all([database, this.#ensureSandboxd()])
      this.#worker ??= this.#startWorker(await database)
      await this.#worker
    }
    return database
  }

  /** Stops everything in the order of dependence; what this stack did not start stays. */
  async stop(): Promise<void> {
    await Promise.allSettled([this.#database, this.#sandboxd, this.#worker])
    for (const process of this.#processes.toReversed()) await process.stop()
    await this.#postgres?.stop()
  }

  #ensureDatabase(): Promise<DatabaseUrls> {
    this.#database ??= this.#startDatabase()
    return this.#database
  }

  #ensureSandboxd(): Promise<void> {
    this.#sandboxd ??= this.#startSandboxd()
    return this.#sandboxd
  }

  async #startDatabase(): Promise<DatabaseUrls> {
    const { settings, paths, logger, port } = this.#options
    let databaseUrl = settings.databaseUrl
    if (databaseUrl === null) {
      const createServer = () =>
        new EmbeddedPostgres({
          home: settings.home,
          cache: settings.cache,
          osUser: DATABASE_USER,
          logger,
          port: port ?? null,
        })
      this.#postgres = new SupervisedPostgres(createServer, logger)
      databaseUrl = await this.#postgres.start()
    }
    const pool = createPool(databaseUrl, { maxConnections: 1, applicationName: 'ergon-setup' })
    try {
      await migrate(pool)
      return { databaseUrl, workerDatabaseUrl: await workerDatabaseUrl(pool, databaseUrl, paths.credentials) }
    } finally {
      await pool.end()
    }
  }

  async #startSandboxd(): Promise<void> {
    const { settings, paths, logger } = this.#options
    if (process.getuid?.() !== 0) await requireRootlessIsolation(settings)
    const command = sandboxdCommand(paths, this.#workerUser(), settings.sandboxRuntime)
    await this.#run('sandboxd', command, logger, 5_000)
  }

  async #startWorker({ workerDatabaseUrl: url }: DatabaseUrls): Promise<void> {
    const { settings, paths, logger, slots, sandboxSlots, drainMs = 5_000 } = this.#options
    const config = {
      name: hostname(),
      version: VERSION,
      home: settings.home,
      environments: settings.environments,
      databaseUrl: url,
      slots: slots ?? 32,
      sandboxSlots: sandboxSlots ?? availableParallelism(),
      lanes: ['sandbox'],
      drainMs,
      logLevel: settings.logLevel,
      sandboxRuntime: settings.sandboxRuntime,
    }
    await this.#run('worker', workerCommand(config, paths, this.#workerUser()), logger, drainMs + 10_000)
  }

  async #run(
    name: string,
    command: ReturnType<typeof workerCommand>,
    logger: Logger,
    stopTimeoutMs: number,
  ): Promise<void> {
    const child = new SupervisedProcess({ name, command, readyTimeoutMs: READY_TIMEOUT_MS, stopTimeoutMs, logger })
    this.#processes.push(child)
    await child.start()
  }

  #workerUser(): OsUser {
    this.#user ??= workerUser()
    return this.#user
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
