import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import { ErgonError } from '../errors/ergon-error.ts'
import type { Logger } from '../logger.ts'
import { holdFileLock } from '../process/file-lock.ts'
import { findOsUser, type OsUser } from '../process/os-user.ts'
import { firstClosedFolder } from './folder-access.ts'
import { giveTo, initialiseData } from './initialise-data.ts'
import { readOrCreatePassword } from './password-file.ts'
import { findPostgresBinaries } from './postgres-binaries.ts'
import { type PostgresFolders, postgresFolders } from './postgres-folders.ts'
import { findOrphans, findPostmaster, type Postmaster } from './postmaster.ts'
import { type ServerProcess, spawnServer } from './server-process.ts'

const DATABASE = 'ergon'
const DEFAULT_PORT = 5432
const POLL_MS = 10
/** Recovery after a crash reads the write-ahead log again, which can take a while. */
const START_TIMEOUT_MS = 120_000
const STOP_TIMEOUT_MS = 30_000
/** Processes of a killed server notice its death within moments; those that do not are ended. */
const ORPHAN_PATIENCE_MS = 1_000

export interface EmbeddedPostgresOptions {
  /** ERGON_HOME; the server's things go below it. */
  home: string
  /** ERGON_CACHE; a copy of the programs goes there when the server's user cannot reach node_modules. */
  cache: string
  /** The OS user that runs the server when root starts it. */
  osUser: string
  logger: Pick<Logger, 'info' | 'warn'>
  /** TCP port on 127.0.0.1; null for the unix socket alone. */
  port: number | null
  /** Settings of postgresql.conf beyond ours. */
  settings?: Readonly<Record<string, string>>
}

/**
 * A real PostgreSQL server of one ERGON_HOME. Any number of processes may start it at once: they share one server,
 * which the one that started it stops. It ends with that process, however the process ends.
 */
export class EmbeddedPostgres {
  readonly #options: EmbeddedPostgresOptions
  readonly #folders: PostgresFolders
  #server: ServerProcess | null = null
  #starting: Promise<string> | null = null

  /** Throws DATABASE_SOCKET_PATH_TOO_LONG. */
  constructor(options: EmbeddedPostgresOptions) {
    this.#options = options
    this.#folders = postgresFolders(options.home, options.port ?? DEFAULT_PORT)
  }

  /**
   * The administrator's URL of the database `ergon`, which answers when this resolves. Throws DATABASE_USER_MISSING,
   * DATABASE_FOLDER_UNUSABLE, DATABASE_START_FAILED, DATABASE_REFUSED or ALREADY_RUNNING (on another port).
   */
  start(): Promise<string> {
    this.#starting ??= this.#start()
    return this.#starting
  }

  /** Stops the server if this object started it; resolves when its process is gone. */
  async stop(): Promise<void> {
    await this.#starting?.catch(() => {})
    this.#starting = null
    const child = this.#server?.child
    this.#server = null
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const exited = once(child, 'exit')
    child.kill('SIGINT')
    const forced = setTimeout(() => child.kill('SIGQUIT'), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(forced)
  }

  /** Whether this object started the server it uses. */
  get isOurs(): boolean {
    return this.#server !== null
  }

  /** Resolves when a server that this object started has ended, asked or unasked; at once when it started none. */
  async ended(): Promise<void> {
    const child = this.#server?.child
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    await once(child, 'exit')
  }

  async #start(): Promise<string> {
    const user = this.#serverUser()
    const password = await this.#prepareFolders(user)
    const running = (await this.#reuse(password)) ?? (await this.#startUnderLock(user, password))
    return this.#url(password, running.port, DATABASE)
  }

  #serverUser(): OsUser {
    const uid = process.getuid?.() ?? 0
    if (uid !== 0) return { name: `uid ${uid}`, uid, gid: process.getgid?.() ?? uid }
    const { osUser } = this.#options
    const user = findOsUser(osUser)
    if (user !== null) return user
    throw new ErgonError(
      'DATABASE_USER_MISSING',
      `PostgreSQL refuses to run as root, and the OS user "${osUser}" does not exist: run bin/setup, or useradd --system --user-group --no-create-home --shell /usr/sbin/nologin ${osUser}`,
    )
  }

  async #prepareFolders(user: OsUser): Promise<string> {
    const { home, socket, password } = this.#folders
    await mkdir(home, { recursive: true, mode: 0o711 })
    await mkdir(`${home}/run`, { recursive: true, mode: 0o711 })
    await mkdir(socket, { recursive: true, mode: 0o711 })
    await giveTo(user, socket)
    const closed = await firstClosedFolder(socket, user)
    if (closed !== null) {
      throw new ErgonError(
        'DATABASE_FOLDER_UNUSABLE',
        `the OS user "${user.name}", which runs PostgreSQL, cannot enter ${closed} on the way to ${home}: run chmod o+x ${closed}, or set ERGON_HOME to another folder`,
      )
    }
    return readOrCreatePassword(password)
  }

  async #startUnderLock(user: OsUser, password: string): Promise<Postmaster> {
    const lock = await holdFileLock(this.#folders.lock, () => {
      this.#options.logger.info('another process is starting the database; waiting for it')
    })
    try {
      return (await this.#reuse(password)) ?? (await this.#launch(user, password))
    } finally {
      await lock.release()
    }
  }

  /** The running server, once it answers; null when there is none, also when one was just ending. */
  async #reuse(password: string): Promise<Postmaster | null> {
    const deadline = performance.now() + START_TIMEOUT_MS
    for (;;) {
      const running = await findPostmaster(this.#folders.data)
      if (running === null) return null
      if (await this.#answers(password, running.port)) {
        this.#refuseOtherPort(running)
        return running
      }
      if (performance.now() > deadline) {
        throw new ErgonError(
          'DATABASE_START_FAILED',
          `the running PostgreSQL of ${this.#folders.home} (process ${running.pid}) does not answer; see ${this.#folders.log}`,
        )
      }
      await sleep(POLL_MS)
    }
  }

  #refuseOtherPort(running: Postmaster): void {
    const { port } = this.#options
    if (port === null || (running.listensOnTcp && running.port === port)) return
    const where = running.listensOnTcp ? `port ${running.port}` : 'its unix socket only'
    throw new ErgonError(
      'ALREADY_RUNNING',
      `the database of ${this.#folders.home} runs on ${where}, not on port ${port}: stop it first, or leave the port out`,
    )
  }

  async #launch(user: OsUser, password: string): Promise<Postmaster> {
    const { initdb, postgres } = await findPostgresBinaries(this.#options.cache, user)
    await initialiseData(this.#folders, initdb, user, password)
    const command = {
      postgres,
      dataFolder: this.#folders.data,
      settings: this.#settings(),
      user,
      logFile: this.#folders.log,
    }
    const startedAt = performance.now()
    for (;;) {
      const server = await spawnServer(command)
      const running = await this.#untilAnswers(server, password)
      if (running !== null) {
        this.#server = server
        await this.#ensureDatabase(password, running.port)
        return running
      }
      const log = await server.readLog()
      const isHeldByOrphans = /shared memory block|lock file .* already exists/s.test(log)
      if (!isHeldByOrphans || performance.now() - startedAt > STOP_TIMEOUT_MS) {
        throw new ErgonError(
          'DATABASE_START_FAILED',
          `PostgreSQL did not start; the end of ${this.#folders.log}: ${log}`,
        )
      }
      if (performance.now() - startedAt > ORPHAN_PATIENCE_MS) await this.#endOrphans()
      await sleep(100)
    }
  }

  #settings(): Record<string, string> {
    const { port, settings } = this.#options
    return {
      listen_addresses: port === null ? '' : '127.0.0.1',
      port: String(port ?? DEFAULT_PORT),
      unix_socket_directories: `"${this.#folders.socket}"`,
      log_checkpoints: 'off',
      ...settings,
    }
  }

  /** Null when the server ended instead. */
  async #untilAnswers({ child }: ServerProcess, password: string): Promise<Postmaster | null> {
    const failed = new AbortController()
    child.once('error', () => failed.abort())
    child.once('exit', () => failed.abort())
    const deadline = performance.now() + START_TIMEOUT_MS
    while (!failed.signal.aborted) {
      const running = await findPostmaster(this.#folders.data)
      if (running?.pid === child.pid && running !== null && (await this.#answers(password, running.port)))
        return running
      if (performance.now() > deadline) child.kill('SIGQUIT')
      await sleep(POLL_MS)
    }
    return null
  }

  async #endOrphans(): Promise<void> {
    if ((await findPostmaster(this.#folders.data)) !== null) return
    for (const pid of await findOrphans(this.#folders.data)) {
      this.#options.logger.warn({ pid }, 'ending a process that a killed PostgreSQL server left behind')
      process.kill(pid, 'SIGKILL')
    }
  }

  /** False while there is no server, or it starts up or shuts down. */
  async #answers(password: string, port: number): Promise<boolean> {
    const client = this.#client(password, port)
    try {
      await client.connect()
      return true
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === '28P01') {
        throw new ErgonError(
          'DATABASE_REFUSED',
          `the database of ${this.#folders.home} does not accept the password in ${this.#folders.password}: restore that file, or remove ${this.#folders.data} to begin anew without its jobs`,
          { cause: error },
        )
      }
      return false
    } finally {
      await client.end().catch(() => {})
    }
  }

  async #ensureDatabase(password: string, port: number): Promise<void> {
    const client = this.#client(password, port)
    await client.connect()
    try {
      const { rowCount } = await client.query('select from pg_catalog.pg_database where datname = $1', [DATABASE])
      if (rowCount === 0) await client.query(`create database ${DATABASE}`)
    } finally {
      await client.end()
    }
  }

  #client(password: string, port: number): pg.Client {
    const client = new pg.Client({
      connectionString: this.#url(password, port, 'postgres'),
      application_name: 'ergon-start',
      connectionTimeoutMillis: 5_000,
    })
    client.on('error', () => {})
    return client
  }

  /** With a host that programs ignore beside the socket's folder, so that it is a URL to those that only parse it. */
  #url(password: string, port: number, database: string): string {
    return `postgresql://postgres:${password}@localhost:${port}/${database}?host=${encodeURIComponent(this.#folders.socket)}`
  }
}
