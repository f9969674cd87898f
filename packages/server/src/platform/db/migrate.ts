import { setTimeout as sleep } from 'node:timers/promises'
import type pg from 'pg'
import { z } from 'zod'
import { ErgonError } from '../errors/ergon-error.ts'
import { type Database, type DatabasePool, queryRows } from './database.ts'
import { codeOf, fromOurSql } from './database-error.ts'
import { type Migration, readAdoption, readMigrations, SQL_FOLDER, splitOnline } from './migration-files.ts'

const OLDEST_SERVER = 150_000
const LOCK_POLL_MS = 50
/** How long a statement of a migration waits for whoever uses a table: whoever comes after it waits as long. */
const LOCK_TIMEOUT_MS = 500
/** Between one try and the next the others get their turn, and this is how long it is tried in all. */
const RETRY_MS = 500
const LOCK_PATIENCE_MS = 120_000
const LOCK_NOT_AVAILABLE = '55P03'

const appliedSchema = z.object({ version: z.number(), name: z.string(), checksum: z.string() })
type Applied = z.infer<typeof appliedSchema>

export interface MigrateOptions {
  /** Where the .sql files are; the package's own by default. */
  folder?: string
}

export interface MigrateResult {
  /** Versions that this call applied. */
  applied: number[]
  /** A jobs schema of the older framework was there and was taken over. */
  adopted: boolean
}

/**
 * Brings the schema to this build's version. Any number of processes may call it at once: one works, the others wait.
 * Throws DATABASE_TOO_OLD, MIGRATION_FROM_NEWER_VERSION, MIGRATION_CHANGED, ADOPTION_INCOMPATIBLE or MIGRATION_FAILED.
 * Needs a direct connection (no transaction pooler) of a role that may create roles and schemas.
 */
export async function migrate(pool: DatabasePool, options: MigrateOptions = {}): Promise<MigrateResult> {
  const folder = options.folder ?? SQL_FOLDER
  const client = await pool.connect()
  try {
    await refuseOldServer(client, pool.description)
    await lock(client)
    return await applyMissing(client, await readMigrations(folder), folder)
  } finally {
    // Ends the session and with it the lock, whatever state an error left it in.
    client.release(true)
  }
}

async function refuseOldServer(db: Database, description: string): Promise<void> {
  const [server] = await queryRows(
    db,
    z.object({ number: z.coerce.number(), name: z.string() }),
    `select current_setting('server_version_num') as number, current_setting('server_version') as name`,
    [],
  )
  if (server !== undefined && server.number >= OLDEST_SERVER) return
  throw new ErgonError(
    'DATABASE_TOO_OLD',
    `PostgreSQL at ${description} is version ${server?.name ?? 'unknown'}; Ergon needs 15 or newer`,
  )
}

/** By try-lock: a waiting session would hold a snapshot that `create index concurrently` waits for, and both would wait for ever. */
async function lock(client: pg.PoolClient): Promise<void> {
  for (;;) {
    const { rows } = await client.query<{ locked: boolean }>(
      `select pg_try_advisory_lock(hashtextextended('ergon.migrate', 0)) as locked`,
    )
    if (rows[0]?.locked === true) return
    await sleep(LOCK_POLL_MS)
  }
}

async function applyMissing(client: pg.PoolClient, migrations: Migration[], folder: string): Promise<MigrateResult> {
  const { isOurs, hasJobs } = await inspect(client)
  const applied = isOurs ? await readApplied(client) : []
  refuseForeignHistory(applied, migrations)
  const missing = migrations.filter(({ version }) => applied.every((known) => known.version !== version))
  const adopted = !isOurs && hasJobs
  const offline = missing.filter(({ isOnline }) => !isOnline)
  if (adopted) await adopt(client, offline, folder)
  else for (const migration of offline) await applyBetweenOthers(client, migration)
  for (const migration of missing.filter(({ isOnline }) => isOnline)) await applyOnline(client, migration)
  return { applied: missing.map(({ version }) => version), adopted }
}

async function inspect(db: Database): Promise<{ isOurs: boolean; hasJobs: boolean }> {
  const [found] = await queryRows(
    db,
    z.object({ isOurs: z.boolean(), hasJobs: z.boolean() }),
    `select to_regclass('jobs.tb_schema_migration') is not null as "isOurs", to_regclass('jobs.tb_job_run') is not null as "hasJobs"`,
    [],
  )
  return found ?? { isOurs: false, hasJobs: false }
}

function readApplied(db: Database): Promise<Applied[]> {
  return queryRows(
    db,
    appliedSchema,
    'select version, name, checksum from jobs.tb_schema_migration order by version',
    [],
  )
}

function refuseForeignHistory(applied: Applied[], migrations: Migration[]): void {
  for (const known of applied) {
    const ours = migrations.find(({ version }) => version === known.version)
    if (ours === undefined) {
      throw new ErgonError(
        'MIGRATION_FROM_NEWER_VERSION',
        `the database has migration ${known.version} (${known.name}), this version of Ergon ends at ${migrations.at(-1)?.version ?? 0}: use the newer Ergon that migrated it`,
      )
    }
    if (ours.checksum !== known.checksum) {
      throw new ErgonError(
        'MIGRATION_CHANGED',
        `migration ${known.version} (${known.name}) is not the one this database was migrated with: restore the file, and put changes into a new migration`,
      )
    }
  }
}

/** The old schema is taken over in one transaction: a crash leaves it as it was. */
async function adopt(client: pg.PoolClient, migrations: Migration[], folder: string): Promise<void> {
  const { prepare, finish } = await readAdoption(folder)
  await inOneTransaction(client, async () => {
    for (const migration of migrations) {
      await apply(client, migration)
      if (migration.version === 1) await run(client, 'the adoption of the existing jobs schema', prepare)
    }
    await run(client, 'the adoption of the existing jobs schema', finish)
  })
}

/** Again and again, until no transaction is in the way. Throws MIGRATION_FAILED when one is for two minutes. */
async function applyBetweenOthers(client: pg.PoolClient, migration: Migration): Promise<void> {
  for (const startedMs = performance.now(); ; ) {
    try {
      return await inOneTransaction(client, async () => {
        await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`)
        await apply(client, migration)
      })
    } catch (error) {
      await client.query('rollback')
      if (!(error instanceof ErgonError && error.cause instanceof Error && codeOf(error.cause) === LOCK_NOT_AVAILABLE))
        throw error
      if (performance.now() - startedMs > LOCK_PATIENCE_MS) throw stillInTheWay(migration, error)
      await sleep(RETRY_MS)
    }
  }
}

function stillInTheWay(migration: Migration, cause: ErgonError): ErgonError {
  return new ErgonError(
    'MIGRATION_FAILED',
    `${describe(migration)} cannot be applied beside a transaction that has used one of its tables for ${LOCK_PATIENCE_MS / 60_000} minutes: end it (pg_locks and pg_stat_activity show which), and migrate again`,
    { cause },
  )
}

/** The first migration makes the roles and runs as whoever we are; every other as the owner that it made. */
async function apply(client: pg.PoolClient, migration: Migration): Promise<void> {
  if (migration.version > 1) await client.query('set local role ergon_owner')
  await run(client, describe(migration), migration.sql)
  await record(client, migration)
  await client.query('reset role')
}

async function applyOnline(client: pg.PoolClient, migration: Migration): Promise<void> {
  await dropInvalidIndexes(client)
  await client.query('set role ergon_owner')
  for (const statement of splitOnline(migration.sql)) {
    for (;;) {
      const changed = await run(client, describe(migration), statement.sql)
      if (!statement.isRepeated || changed === 0) break
    }
  }
  await record(client, migration)
  await client.query('reset role')
}

/** What an interrupted `create index concurrently` leaves: a name that is taken by an index that answers nothing. */
async function dropInvalidIndexes(client: pg.PoolClient): Promise<void> {
  const { rows } = await client.query<{ name: string }>(
    `select quote_ident(c.relname) as name from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid
     where not i.indisvalid and i.indrelid = 'jobs.tb_job_run'::regclass`,
  )
  for (const { name } of rows) await client.query(`drop index concurrently jobs.${name}`)
}

function record(client: pg.PoolClient, { version, name, checksum }: Migration): Promise<unknown> {
  return client.query('insert into jobs.tb_schema_migration (version, name, checksum) values ($1, $2, $3)', [
    version,
    name,
    checksum,
  ])
}

async function inOneTransaction(client: pg.PoolClient, work: () => Promise<void>): Promise<void> {
  await client.query('begin')
  await work()
  await client.query('commit')
}

async function run(client: pg.PoolClient, what: string, sql: string): Promise<number> {
  try {
    const result = await client.query(sql)
    return result.rowCount ?? 0
  } catch (error) {
    const ours = fromOurSql(error)
    if (ours !== null) throw ours
    const reason = error instanceof Error ? error.message : String(error)
    throw new ErgonError('MIGRATION_FAILED', `${what} failed: ${reason}`, { cause: error })
  }
}

function describe({ version, name }: Migration): string {
  return `migration ${String(version).padStart(6, '0')}_${name}.sql`
}
