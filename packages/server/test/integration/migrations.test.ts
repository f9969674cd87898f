import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createPool, type DatabasePool } from '../../src/platform/db/database.ts'
import { migrate } from '../../src/platform/db/migrate.ts'
import { readMigrations, SQL_FOLDER } from '../../src/platform/db/migration-files.ts'
import { requireCurrentSchema } from '../../src/platform/db/require-current-schema.ts'
import { inTransaction } from '../../src/platform/db/transaction.ts'
import { dumpSchema } from '../../src/testing/schema-dump.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob, readLive, readRow, scalar, startWorker } from './queue-fixture.ts'

let db: TestDatabase
const folders: string[] = []
beforeEach(async () => {
  db = await createTestDatabase({ empty: true })
})
afterEach(() => db.drop())
afterAll(() => Promise.all(folders.map((folder) => rm(folder, { recursive: true }))))

const golden = () => readFile(path.join(SQL_FOLDER, 'schema.golden.sql'), 'utf8')

/** The migrations in a folder of their own, to be changed. */
async function copyMigrations(): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-sql-'))
  folders.push(folder)
  await cp(SQL_FOLDER, folder, { recursive: true })
  return folder
}

describe('a fresh database', () => {
  it('gets exactly the golden schema, and a second time changes nothing', async () => {
    await expect(requireCurrentSchema(db.admin, db.adminUrl)).rejects.toMatchObject({ code: 'SCHEMA_OUTDATED' })
    const versions = (await readMigrations()).map(({ version }) => version)
    expect(await migrate(db.admin)).toEqual({ applied: versions, adopted: false })
    expect(await dumpSchema(db.admin)).toBe(await golden())
    expect(await migrate(db.admin)).toEqual({ applied: [], adopted: false })
    await requireCurrentSchema(db.admin, db.adminUrl)
  })

  it('is migrated once by migrators that race', async () => {
    const pools = Array.from({ length: 4 }, () =>
      createPool(db.adminUrl, { maxConnections: 1, applicationName: 'ergon-test' }),
    )
    const results = await Promise.all(pools.map((pool) => migrate(pool)))
    await Promise.all(pools.map((pool) => pool.end()))
    expect(results.filter(({ applied }) => applied.length > 0)).toHaveLength(1)
    expect(await dumpSchema(db.admin)).toBe(await golden())
  })

  it('can be migrated by an owner who is no superuser', async () => {
    await ignoreExisting(db.admin.query(`create role test_migrator login createrole password 'x'`))
    await db.admin.query(
      `grant ergon_owner, ergon_worker, ergon_api, ergon_enqueue, ergon_callback to test_migrator with admin option`,
    )
    const name = String(await scalar(db.admin, 'select current_database()'))
    await db.admin.query(`alter database ${name} owner to test_migrator`)
    const url = new URL(db.adminUrl)
    url.username = 'test_migrator'
    url.password = 'x'
    const pool = createPool(url.toString(), { maxConnections: 1, applicationName: 'ergon-test' })
    await migrate(pool)
    await pool.end()
    expect(await dumpSchema(db.admin)).toBe(await golden())
  })
})

describe('an unknown history', () => {
  it('goes on under an application whose transaction is open, and is migrated when that is over', async () => {
    const folder = await copyMigrations()
    for (const name of await readdir(folder)) if (/^0000(19|[2-9]\d)/.test(name)) await rm(path.join(folder, name))
    await migrate(db.admin, { folder })
    const application = await db.admin.connect()
    try {
      await application.query('begin')
      await insertJob(application)
      let isOver = false
      const migrating = migrate(db.admin).finally(() => (isOver = true))
      const waits: number[] = []
      while (waits.length < 30) {
        const startedMs = performance.now()
        await inTransaction(db.admin, async (other) => {
          await other.query(`set local lock_timeout = '10s'`)
          await insertJob(other)
        })
        waits.push(performance.now() - startedMs)
        await sleep(50)
      }
      expect(isOver).toBe(false)
      // What was longest waited for is a try of the migration, and not the application.
      expect(Math.max(...waits)).toBeLessThan(9_000)
      await application.query('commit')
      expect((await migrating).applied).toContain(19)
    } finally {
      application.release(true)
    }
  })

  it('of a newer version is refused', async () => {
    await migrate(db.admin)
    await db.admin.query(`insert into jobs.tb_schema_migration values (999, 'future', 'x')`)
    const refusal = { code: 'MIGRATION_FROM_NEWER_VERSION', message: expect.stringContaining('999 (future)') }
    await expect(migrate(db.admin)).rejects.toMatchObject(refusal)
    await expect(requireCurrentSchema(db.admin, db.adminUrl)).rejects.toMatchObject({ code: refusal.code })
  })

  it('of a changed file is refused', async () => {
    const folder = await copyMigrations()
    await migrate(db.admin, { folder })
    await writeFile(path.join(folder, '000003_queue.sql'), '-- nothing')
    await expect(migrate(db.admin, { folder })).rejects.toMatchObject({
      code: 'MIGRATION_CHANGED',
      message: expect.stringContaining('3 (queue)'),
    })
  })
})

describe('a migration that fails', () => {
  it('leaves no trace of itself, names itself, and goes on when it is mended', async () => {
    const folder = await copyMigrations()
    const broken = path.join(folder, '000003_queue.sql')
    const good = await readFile(broken, 'utf8')
    await writeFile(broken, `${good}\nselect 1 / 0;`)
    await expect(migrate(db.admin, { folder })).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('000003_queue.sql failed: division by zero'),
    })
    expect(await scalar(db.admin, `select to_regclass('jobs.tb_job_queue')`)).toBeNull()
    await writeFile(broken, good)
    expect((await migrate(db.admin, { folder })).applied[0]).toBe(3)
    expect(await dumpSchema(db.admin)).toBe(await golden())
  })

  it('in the online part is taken up again, an unfinished index included', async () => {
    const folder = await copyMigrations()
    const online = path.join(folder, '000009_online.sql')
    const good = await readFile(online, 'utf8')
    await rm(online)
    await migrate(db.admin, { folder })
    // Dividing by zero on this row, the build of the index fails and leaves it there, invalid.
    await insertJob(db.admin, { operation: 'x' })
    await writeFile(online, good.replace('(tenant_id, created_at desc)', '((1 / (length(operation) - 1)))'))
    await expect(migrate(db.admin, { folder })).rejects.toMatchObject({ code: 'MIGRATION_FAILED' })
    expect(
      await scalar(
        db.admin,
        `select indisvalid from pg_index where indexrelid = 'jobs.ix_job_run_tenant_created'::regclass`,
      ),
    ).toBe(false)
    await writeFile(online, good)
    await migrate(db.admin, { folder })
    expect(await dumpSchema(db.admin)).toBe(await golden())
  })
})

describe('an older jobs schema', () => {
  beforeEach(async () => {
    await ignoreExisting(db.admin.query(`create role old_app login password 'old_app'`))
    await ignoreExisting(db.admin.query('create role old_dashboard'))
    const older = await readFile(path.join(import.meta.dirname, 'fixtures/older-schema.sql'), 'utf8')
    await inTransaction(db.admin, (transaction) => transaction.query(older))
  })

  const idOf = async (identifier: string) =>
    String(await scalar(db.admin, 'select id from jobs.tb_job_run where identifier = $1', [identifier]))
  async function asOldApp<Result>(work: (pool: DatabasePool) => Promise<Result>): Promise<Result> {
    const url = new URL(db.adminUrl)
    url.username = 'old_app'
    url.password = 'old_app'
    const pool = createPool(url.toString(), { maxConnections: 1, applicationName: 'ergon-test' })
    try {
      return await work(pool)
    } finally {
      await pool.end()
    }
  }

  it('is adopted: no row lost, none of its values changed but the case of its type', async () => {
    const before = await db.admin.query(
      'select id, identifier, lower(execution_type) as execution_type, status, attempts, max_attempts, timeout_seconds, entity_pk, correlation_id, created_at from jobs.tb_job_run order by id',
    )
    expect(await migrate(db.admin)).toMatchObject({ adopted: true })
    const after = await db.admin.query(
      'select id, identifier, execution_type, status, attempts, max_attempts, timeout_seconds, entity_pk, correlation_id, created_at from jobs.tb_job_run order by id',
    )
    expect(after.rows).toEqual(before.rows)
    expect(after.rows).toHaveLength(101)
  })

  it('has the golden schema, beside what is its own', async () => {
    await migrate(db.admin)
    const expected = new Set((await golden()).split('\n'))
    const actual = (await dumpSchema(db.admin)).split('\n')
    expect(actual.filter((line) => !expected.has(line))).toEqual([
      'CREATE INDEX old_status ON jobs.tb_job_run USING btree (status)',
      'SELECT on jobs.v_job_stats to old_app',
      'SELECT on jobs.v_job_stats to old_dashboard',
      'CREATE on schema jobs to old_app',
      'USAGE on schema jobs to old_app',
      'USAGE on schema jobs to old_dashboard',
    ])
    expect([...expected].filter((line) => !actual.includes(line))).toEqual([])
  })

  it('has its pending jobs queued in their order, and only those', async () => {
    await migrate(db.admin)
    const { rows } = await db.admin.query(
      'select j.identifier from jobs.tb_job_queue q join jobs.tb_job_run j on j.id = q.job_id order by q.seq',
    )
    expect(rows.map((row) => String(Object(row).identifier))).toEqual([
      ...Array.from({ length: 20 }, (_, index) => `pending-${index + 1}`),
      'odd',
    ])
    expect(await readLive(db.admin, await idOf('odd'))).toMatchObject({
      attempt: 0,
      max_attempts: 1,
      timeout_seconds: 1,
    })
    const worker = await startWorker(db.admin, { lanes: ['http', 'shell', 'docker', 'serverless'] })
    expect(await worker.claim(50)).toHaveLength(21)
  })

  it('leaves running jobs to the workers that took them', async () => {
    await migrate(db.admin)
    const id = await idOf('running-3')
    await asOldApp((pool) => pool.query(`select jobs.complete_job_successfully($1, '{"a": 1}')`, [id]))
    expect(await readRow(db.admin, id)).toMatchObject({ status: 'completed', output_data: { a: 1 } })
  })

  it('goes on working for its old owner', async () => {
    await migrate(db.admin)
    await asOldApp(async (pool) => {
      const id = await insertJob(pool, { execution_type: 'HTTP' })
      expect(await readLive(db.admin, id)).toMatchObject({ lane: 'http' })
      await pool.query('select jobs.mark_job_started($1)', [id])
      await pool.query(`select jobs.fail_job($1, 'no')`, [id])
      await pool.query(`update jobs.tb_job_run set status = 'pending' where id = $1`, [id])
      await pool.query('select * from jobs.v_job_stats')
      await pool.query('delete from jobs.tb_job_run where id = $1', [id])
    })
    await inTransaction(db.admin, async (transaction) => {
      await transaction.query('set local role old_dashboard')
      await transaction.query('select * from jobs.v_job_stats')
    })
  })

  it('stays as it was when the adoption fails, and is adopted later', async () => {
    await db.admin.query('alter table jobs.tb_job_run alter column entity_pk type bigint using entity_pk::bigint')
    const before = await dumpSchema(db.admin)
    await expect(migrate(db.admin)).rejects.toMatchObject({
      code: 'ADOPTION_INCOMPATIBLE',
      message: expect.stringContaining('entity_pk is bigint, expected text'),
    })
    expect(await dumpSchema(db.admin)).toBe(before)
    await db.admin.query('alter table jobs.tb_job_run alter column entity_pk type text')
    expect(await migrate(db.admin)).toMatchObject({ adopted: true })
  })
})

async function ignoreExisting(statement: Promise<unknown>): Promise<void> {
  await statement.catch((error: unknown) => {
    if (Object(error).code !== '42710') throw error
  })
}
