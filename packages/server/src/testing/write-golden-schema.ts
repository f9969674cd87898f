import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createPool } from '../platform/db/database.ts'
import { migrate } from '../platform/db/migrate.ts'
import { SQL_FOLDER } from '../platform/db/migration-files.ts'
import { EmbeddedPostgres } from '../platform/postgres/embedded-postgres.ts'
import { dumpSchema } from './schema-dump.ts'

/** Run after a change of the migrations: writes sql/schema.golden.sql from a fresh database. */
const folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-golden-'))
await chmod(folder, 0o711)
const server = new EmbeddedPostgres({
  home: path.join(folder, 'home'),
  cache: path.join(folder, 'cache'),
  osUser: 'ergon-postgres',
  port: null,
  logger: console,
})
try {
  const pool = createPool(await server.start(), { maxConnections: 1, applicationName: 'ergon-golden' })
  await migrate(pool)
  await writeFile(path.join(SQL_FOLDER, 'schema.golden.sql'), await dumpSchema(pool))
  await pool.end()
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}
