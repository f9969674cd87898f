import pg from 'pg'
import type { z } from 'zod'
import { translateDatabaseError } from './database-error.ts'
import { describeDatabase } from './describe-database.ts'

const MAX_PREPARED = 100

/** Runs one statement: a pool, a pooled client or a connection of its own. */
export interface Database {
  query(text: string, values?: readonly unknown[]): Promise<{ rows: unknown[]; rowCount: number | null }>
}

/** A pool of connections that can also lend one of them, for a transaction or a session. */
export interface DatabasePool extends Database {
  /** Host, port and database, for messages; never a password. */
  readonly description: string
  /** The name under which the server keeps the plan of a text, if it does. */
  nameOf(text: string): string | undefined
  connect(): Promise<pg.PoolClient>
  end(): Promise<void>
}

export interface PoolOptions {
  maxConnections: number
  /** Shown in pg_stat_activity. */
  applicationName: string
  /** How long to wait for a connection, in ms; 10 s by default. */
  connectTimeoutMs?: number
  /** How long a statement may take before it fails and its connection is cut, in ms; for ever by default. */
  queryTimeoutMs?: number
  /** How long the server works at a statement before it gives it up, in ms: what a client no longer waits for would go on. */
  statementTimeoutMs?: number
  /**
   * Sends what is asked of a connection without waiting for the answers before, so that several statements cost one round
   * trip, and has the server keep the plans of the first hundred texts. Needs direct connections, no transaction pooler.
   */
  isPipelined?: boolean
}

/**
 * A pool that connects on first use. A server that cannot be reached, refuses the password or is too old shows as
 * DATABASE_UNREACHABLE, DATABASE_REFUSED or DATABASE_TOO_OLD; errors of our own SQL carry their code of the catalogue.
 */
export function createPool(url: string, options: PoolOptions): DatabasePool {
  const pool = new pg.Pool({
    connectionString: url,
    max: options.maxConnections,
    application_name: options.applicationName,
    connectionTimeoutMillis: options.connectTimeoutMs ?? 10_000,
    keepAlive: true,
    pipeline: options.isPipelined === true,
    ...(options.statementTimeoutMs === undefined ? {} : { statement_timeout: options.statementTimeoutMs }),
    ...(options.queryTimeoutMs === undefined ? {} : { query_timeout: options.queryTimeoutMs }),
  })
  // An idle connection that breaks is replaced by the next query; without a listener the event would end the process.
  pool.on('error', () => {})
  // Nor may one that breaks while somebody has it: its statements fail, and say so.
  pool.on('connect', (client) => client.on('error', () => {}))
  const description = describeDatabase(url)
  const nameOf = options.isPipelined === true ? nameStatements() : () => undefined
  return {
    description,
    nameOf,
    async query(text, values) {
      try {
        const name = nameOf(text)
        const config = { text, ...(name === undefined ? {} : { name }) }
        return await pool.query(values === undefined ? config : { ...config, values: [...values] })
      } catch (error) {
        throw translateDatabaseError(error, description)
      }
    },
    async connect() {
      try {
        return await pool.connect()
      } catch (error) {
        throw translateDatabaseError(error, description)
      }
    },
    end: () => pool.end(),
  }
}

/** Each connection keeps what was prepared on it for ever, so only so many texts get a name. */
function nameStatements(): (text: string) => string | undefined {
  const names = new Map<string, string>()
  return (text) => {
    const known = names.get(text)
    if (known !== undefined || names.size >= MAX_PREPARED) return known
    const name = `s${names.size}`
    names.set(text, name)
    return name
  }
}

/** Runs one statement and checks each row; a row that does not fit is a fault of ours and throws. */
export async function queryRows<Row extends z.ZodType>(
  db: Database,
  row: Row,
  text: string,
  values: readonly unknown[],
): Promise<z.output<Row>[]> {
  const result = await db.query(text, values)
  return result.rows.map((value) => row.parse(value))
}
