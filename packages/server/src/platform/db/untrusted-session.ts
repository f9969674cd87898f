import pg from 'pg'
import { z } from 'zod'
import type { Database } from './database.ts'
import { translateDatabaseError } from './database-error.ts'
import { describeDatabase } from './describe-database.ts'

/** What one answer is made of is a few hundred bytes; notices, notifications and errors have no bound of their own. */
const MAX_RECEIVED_BYTES = 256 * 1024
/** How long the server may take to answer a session that rests. */
const ANSWER_MS = 2_000
/** How long the server may take to end a session that was told to. */
const TERMINATE_MS = 5_000
const CONNECT_TIMEOUT_MS = 10_000
const CLOSE_MS = 2_000

const backendSchema = z.object({ pid: z.number(), since: z.string() })

export interface UntrustedSessionOptions {
  url: string
  /** Shown in pg_stat_activity. */
  applicationName: string
}

/**
 * A session for statements that run other people's code. Each use has an end that the code cannot put off: too long or
 * too talkative, and the session is terminated, since a cancellation can be caught and a timeout set anew. What a use
 * leaves behind (settings, roles, locks, temporary tables, prepared statements) is discarded before the next; after any
 * error the session is given up. Needs a direct connection, no transaction pooler.
 */
export class UntrustedSession {
  readonly #options: UntrustedSessionOptions
  #open: OpenSession | null = null
  #break: ((error: Error) => void) | null = null

  constructor(options: UntrustedSessionOptions) {
    this.#options = options
  }

  /** Connects if there is no connection; throws DATABASE_REFUSED or DATABASE_UNREACHABLE. */
  async open(): Promise<void> {
    if (this.#open?.isLost() === true) this.#open = null
    this.#open ??= await connect(this.#options)
  }

  /** Whether there is a connection, as far as it knows. */
  isOpen(): boolean {
    return this.#open !== null && !this.#open.isLost()
  }

  /** Whether the server answers, which a connection that is not used does not know. */
  async answers(): Promise<boolean> {
    const session = this.#open
    if (session === null || session.isLost()) return false
    try {
      await within(session.client, ANSWER_MS, session.client.query('select'))
      return true
    } catch {
      return false
    }
  }

  /**
   * Ends the other sessions of the same login in this database whose transaction has gone on for longer: of a process that
   * was killed, since a living one has ended its own by then. Returns how many there were.
   */
  async endOverdue(limitMs: number): Promise<number> {
    await this.open()
    const session = this.#open
    if (session === null) throw new Error('a session that was just opened is not there')
    const { rows } = await within(session.client, ANSWER_MS, session.client.query(END_OVERDUE, [limitMs / 1_000]))
    return rows.length
  }

  /** Ends a use that is under way: it throws this error. */
  abort(error: Error): void {
    this.#break?.(error)
  }

  /** When this throws, the session that it ran in is gone from the server, or was told to go. */
  async use<Result>(limitMs: number, work: (db: Database) => Promise<Result>): Promise<Result> {
    await this.open()
    const session = this.#open
    if (session === null) throw new Error('a session that was just opened is not there')
    const broken = Promise.withResolvers<never>()
    this.#break = broken.reject
    const timer = setTimeout(
      () => broken.reject(new Error(`ran for more than ${limitMs} ms, and its session was ended`)),
      limitMs,
    )
    let received = 0
    const count = (chunk: Buffer) => {
      received += chunk.length
      if (received <= MAX_RECEIVED_BYTES) return
      // At once, or the parser goes on collecting the message.
      session.client.connection.stream.destroy()
      broken.reject(new Error(`sent more than ${MAX_RECEIVED_BYTES} bytes of messages, and its session was ended`))
    }
    session.client.connection.stream.on('data', count)
    try {
      const done = work(session.client).then(async (result) => {
        await clean(session)
        return result
      })
      // Whoever loses the race fails later, unheard.
      done.catch(() => {})
      return await Promise.race([done, broken.promise, session.lost])
    } catch (error) {
      this.#open = null
      await terminate(this.#options, session)
      throw error
    } finally {
      this.#break = null
      clearTimeout(timer)
      session.client.connection.stream.off('data', count)
    }
  }

  /** Closes the connection of a session that is not in use. */
  async end(): Promise<void> {
    const session = this.#open
    this.#open = null
    if (session !== null) await close(session.client)
  }
}

interface OpenSession {
  client: pg.Client
  backend: z.output<typeof backendSchema>
  /** Rejects when the connection breaks. */
  lost: Promise<never>
  isLost(): boolean
  /** Whether the server can notice during a statement that nobody waits for it any more. */
  checksClient: boolean
}

const CHECK_CLIENT = `set client_connection_check_interval = '2s'`
/** A login that was given another role's rights from its start on could end no session of its own. */
const OWN_ROLE = 'set role none'
/** Of a session's own all that code in it can change is its name, its state and what it waits for. */
const END_OVERDUE = `
  select pg_catalog.pg_terminate_backend(a.pid) from pg_catalog.pg_stat_activity a
  where a.usename operator(pg_catalog.=) session_user and a.datname operator(pg_catalog.=) pg_catalog.current_database()
    and a.pid operator(pg_catalog.<>) pg_catalog.pg_backend_pid()
    and a.xact_start operator(pg_catalog.<) (pg_catalog.clock_timestamp() operator(pg_catalog.-) pg_catalog.make_interval(secs => $1))`

async function connect({ url, applicationName }: UntrustedSessionOptions): Promise<OpenSession> {
  const client = new pg.Client({
    connectionString: url,
    application_name: applicationName,
    keepAlive: true,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
  })
  const { promise: lost, reject } = Promise.withResolvers<never>()
  let hasEnded = false
  const lose = (error: Error) => {
    hasEnded = true
    reject(error)
  }
  lost.catch(() => {})
  client.on('error', lose)
  client.on('end', () => lose(new Error('the session ended while it was in use')))
  try {
    await client.connect()
    await within(client, CONNECT_TIMEOUT_MS, client.query(OWN_ROLE))
    const { rows } = await within(
      client,
      CONNECT_TIMEOUT_MS,
      client.query(
        'select pid, backend_start::text as since from pg_catalog.pg_stat_activity where pid operator(pg_catalog.=) pg_catalog.pg_backend_pid()',
      ),
    )
    // Not on every platform that a server may run on.
    const checksClient = await within(client, CONNECT_TIMEOUT_MS, client.query(CHECK_CLIENT)).then(
      () => true,
      () => false,
    )
    return { client, backend: backendSchema.parse(rows[0]), lost, isLost: () => hasEnded, checksClient }
  } catch (error) {
    await close(client)
    throw translateDatabaseError(error, describeDatabase(url))
  }
}

/** Of a server that is not there any more, whose network says nothing, TCP would be waited for: a quarter of an hour or more. */
async function within<Result>(client: pg.Client, limitMs: number, work: Promise<Result>): Promise<Result> {
  const timer = setTimeout(() => client.connection.stream.destroy(), limitMs)
  try {
    return await work
  } finally {
    clearTimeout(timer)
  }
}

async function close(client: pg.Client): Promise<void> {
  await within(client, CLOSE_MS, client.end()).catch(() => {})
}

async function clean({ client, checksClient }: OpenSession): Promise<void> {
  await client.query('discard all')
  // Else code that is at it when this process is killed may go on for ever.
  if (checksClient) await client.query(CHECK_CLIENT)
}

/** A closed socket does not end what the server is at; only another session of the same login can. */
async function terminate(options: UntrustedSessionOptions, { client, backend }: OpenSession): Promise<void> {
  client.connection.stream.destroy()
  const killer = await connect({ ...options, applicationName: `${options.applicationName}-terminate` }).catch(
    () => null,
  )
  if (killer === null) return
  try {
    await within(
      killer.client,
      2 * TERMINATE_MS,
      killer.client.query(
        `select pg_catalog.pg_terminate_backend(a.pid, ${TERMINATE_MS}) from pg_catalog.pg_stat_activity a
         where a.pid operator(pg_catalog.=) $1::pg_catalog.int4
           and a.backend_start operator(pg_catalog.=) $2::pg_catalog.timestamptz`,
        [backend.pid, backend.since],
      ),
    )
  } catch {
    // The server is going, and its sessions with it.
  } finally {
    await close(killer.client)
  }
}
