import { setTimeout as sleep } from 'node:timers/promises'
import pg from 'pg'
import type { Database } from './database.ts'
import { translateDatabaseError } from './database-error.ts'
import { describeDatabase } from './describe-database.ts'

const FIRST_RETRY_MS = 100
const LAST_RETRY_MS = 5_000
/** What is asked here is answered at once, or the connection leads nowhere: TCP alone takes 15 minutes to notice. */
const QUERY_TIMEOUT_MS = 4_000

export interface ListenConnectionOptions {
  url: string
  applicationName: string
  /** What to listen for, from the first connection to the last. */
  channels: Readonly<Record<string, (payload: string) => void>>
  /** Called after each connection, the first included: what a session held is gone and can be taken again. */
  onConnect(): void
  /** Called when a connection is lost and after each failed attempt to replace it. */
  onLoss(error: unknown): void
}

/** One session that listens and holds session locks, and is replaced when it breaks. Needs a direct connection, no transaction pooler. */
export class ListenConnection implements Database {
  readonly #options: ListenConnectionOptions
  readonly #stopping = new AbortController()
  #client: pg.Client | null = null
  #reconnecting: Promise<void> = Promise.resolve()
  /** Over once the last statement is. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: ListenConnectionOptions) {
    this.#options = options
  }

  /** Resolves once it listens; throws a coded error when the first connection fails. */
  async start(): Promise<void> {
    if (this.#client !== null) return
    await this.#connect()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#reconnecting
    const client = this.#client
    this.#client = null
    await client?.end().catch(() => {})
  }

  get isConnected(): boolean {
    return this.#client !== null
  }

  /** Runs a statement in the listening session, one after the other; throws while there is none. */
  query(text: string, values: readonly unknown[] = []): Promise<{ rows: unknown[]; rowCount: number | null }> {
    const answer = this.#turn.then(() => this.#ask(text, values))
    this.#turn = answer.catch(() => {})
    return answer
  }

  async #ask(text: string, values: readonly unknown[]): Promise<{ rows: unknown[]; rowCount: number | null }> {
    const client = this.#client
    if (client === null) throw new Error('the listening connection is being replaced')
    try {
      return await client.query<Record<string, unknown>>(text, [...values])
    } catch (error) {
      // A client with an unanswered query ends by cutting its connection.
      if (isTimeout(error)) void client.end().catch(() => {})
      throw translateDatabaseError(error, describeDatabase(this.#options.url))
    }
  }

  async #connect(): Promise<void> {
    const { url, applicationName, channels, onConnect } = this.#options
    const client = new pg.Client({
      connectionString: url,
      application_name: applicationName,
      keepAlive: true,
      connectionTimeoutMillis: 10_000,
      query_timeout: QUERY_TIMEOUT_MS,
    })
    // Before it is in use an error rejects connect() as well; afterwards 'end' follows it.
    client.on('error', () => {})
    try {
      await client.connect()
      client.on('notification', ({ channel, payload }) => channels[channel]?.(payload ?? ''))
      for (const channel of Object.keys(channels)) await client.query(`listen ${pg.escapeIdentifier(channel)}`)
    } catch (error) {
      await client.end().catch(() => {})
      throw translateDatabaseError(error, describeDatabase(url))
    }
    client.once('end', () => this.#replace(client))
    this.#client = client
    onConnect()
  }

  #replace(lost: pg.Client): void {
    if (this.#client !== lost) return
    this.#client = null
    this.#options.onLoss(new Error(`the listening connection to ${describeDatabase(this.#options.url)} was lost`))
    this.#reconnecting = this.#reconnect()
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#stopping
    for (let delayMs = FIRST_RETRY_MS; !signal.aborted; delayMs = Math.min(LAST_RETRY_MS, delayMs * 2)) {
      await sleep(delayMs, undefined, { signal }).catch(() => {})
      if (signal.aborted) return
      try {
        return await this.#connect()
      } catch (error) {
        this.#options.onLoss(error)
      }
    }
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && error.message === 'Query read timeout'
}
