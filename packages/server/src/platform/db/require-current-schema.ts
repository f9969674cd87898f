import { z } from 'zod'
import { ErgonError } from '../errors/ergon-error.ts'
import type { Database } from './database.ts'
import { describeDatabase } from './describe-database.ts'
import { readMigrations, SQL_FOLDER } from './migration-files.ts'

const stateSchema = z.object({ exists: z.boolean() })
const versionSchema = z.object({ version: z.number().nullable() })

/** Throws SCHEMA_OUTDATED or MIGRATION_FROM_NEWER_VERSION unless the database has exactly this build's migrations. */
export async function requireCurrentSchema(db: Database, url: string): Promise<void> {
  const newest = (await readMigrations(SQL_FOLDER)).at(-1)?.version ?? 0
  const { rows } = await db.query(`select to_regclass('jobs.tb_schema_migration') is not null as exists`)
  const found = stateSchema.parse(rows[0]).exists ? await readVersion(db) : 0
  if (found === newest) return
  const where = `the database at ${describeDatabase(url)}`
  if (found > newest) {
    throw new ErgonError(
      'MIGRATION_FROM_NEWER_VERSION',
      `${where} is at migration ${found}, this version of Ergon ends at ${newest}: use the newer Ergon that migrated it`,
    )
  }
  throw new ErgonError(
    'SCHEMA_OUTDATED',
    `${where} is at migration ${found} of ${newest}: run \`ergon migrate\` with its owner's DATABASE_URL`,
  )
}

async function readVersion(db: Database): Promise<number> {
  const { rows } = await db.query('select max(version) as version from jobs.tb_schema_migration')
  return versionSchema.parse(rows[0]).version ?? 0
}
