import { cp, mkdtemp, readdir, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { beforeEach, describe, expect, it } from 'vitest'
import { migrate } from '../../src/platform/db/migrate.ts'
import { SQL_FOLDER } from '../../src/platform/db/migration-files.ts'
import { claimCallbacks, sweepCallbackWaits } from '../../src/queue/callbacks.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { both, endJob, newEntity, openShop, register } from './callback-fixture.ts'
import { insertJob, scalar } from './queue-fixture.ts'

let db: TestDatabase
openShop((opened) => {
  db = opened
})
beforeEach(() => db.admin.query('truncate jobs.tb_job_callback'))

async function registered(): Promise<string> {
  const entity = newEntity()
  await register(db.admin, entity, both)
  return entity
}

describe('what a claim reads', () => {
  const CLAIM = `select * from jobs.claim_callbacks(4, '{}', 60000)`
  const MANY = 1_000

  /** How many rows of callbacks the statement looks at, which is what its time hangs on. */
  async function rowsReadBy(statement: string): Promise<number> {
    await db.admin.query('analyze jobs.tb_job_callback')
    const client = await db.admin.connect()
    // Counts what the session has not reported yet, so from more than its transaction.
    const readSoFar = async () =>
      Number(
        await scalar(
          client,
          `select idx_tup_fetch + seq_tup_read from pg_stat_xact_user_tables where relid = 'jobs.tb_job_callback'::regclass`,
        ),
      )
    try {
      await client.query('begin')
      const before = await readSoFar()
      await client.query(statement)
      return (await readSoFar()) - before
    } finally {
      // What it claimed is free again before anybody else looks.
      await client.query('rollback')
      client.release()
    }
  }

  const claimedJobs = async () =>
    (await claimCallbacks(db.as('ergon_worker'), { most: 4, busyRegistrations: [], leaseMs: 60_000 })).map(
      ({ jobId }) => jobId,
    )

  /** Callbacks of the registration as their recording leaves them, one of each of `jobs` jobs. */
  const insertMany = (entity: string, outcome: string, columns: string) =>
    db.admin.query(
      `insert into jobs.tb_job_callback (registration_id, job_id, outcome, output_data, error_message, failed_at, waits)
       select c.registration_id, md5(n::text || $1)::uuid, $2, case $2 when 'success' then '{}'::jsonb end,
              case $2 when 'failure' then 'no' end, ${columns}
       from jobs.tb_callback c, generate_series(1, ${MANY}) n where c.entity = $1`,
      [entity, outcome],
    )

  it('does not grow with callbacks that wait for some that were put aside', async () => {
    const entity = await registered()
    const id = await endJob(db, entity)
    const few = await rowsReadBy(CLAIM)
    expect(few).toBeGreaterThan(0)
    await insertMany(entity, 'failure', 'now(), false')
    await insertMany(entity, 'success', 'null, true')
    // They have been due for longer.
    await db.admin.query(`update jobs.tb_job_callback set due_at = due_at - interval '1 h' where job_id <> $1`, [id])
    expect(await rowsReadBy(CLAIM)).toBeLessThanOrEqual(few + 10)
    expect(await rowsReadBy(`select jobs.has_due_callback('{}')`)).toBeLessThanOrEqual(few + 10)
    expect(await claimedJobs()).toContain(id)
  })

  it('does not grow with callbacks whose function alone of the two was withdrawn', async () => {
    const entity = await registered()
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    await insertMany(entity, 'success', 'null, false')
    await register(db.admin, entity, { failure: 'declined' })
    await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [id])
    await db.as('ergon_enqueue').query(`select jobs.fail_job($1, 'no')`, [id])
    expect(await rowsReadBy(CLAIM)).toBeLessThanOrEqual(20)
    expect(await claimedJobs()).toContain(id)
  })

  it('in a sweep is a thousand of those that wait, from where the last one ended', async () => {
    const entity = await registered()
    // Two of each job, but for one that has a single one: a thousand that wait for nothing, and after them the others.
    for (let half = 0; half < 2; half += 1) await insertMany(entity, 'success', 'null, true')
    await db.admin.query(`
      delete from jobs.tb_job_callback where callback_id = (select min(callback_id) from jobs.tb_job_callback);
      update jobs.tb_job_callback set waits = true`)
    const waiting = () => scalar(db.admin, 'select count(*)::int from jobs.tb_job_callback where waits')
    const next = await sweepCallbackWaits(db.as('ergon_worker'), '0')
    expect(Number(next)).toBeGreaterThan(0)
    expect(await waiting()).toBe(MANY - 1)
    expect(await sweepCallbackWaits(db.as('ergon_worker'), next)).toBe('0')
    expect(await waiting()).toBe(MANY - 1)
  })
})

it('knows which callbacks of a version before wait', async () => {
  const old = await createTestDatabase({ empty: true })
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-sql-'))
  try {
    await cp(SQL_FOLDER, folder, { recursive: true })
    const [file] = (await readdir(folder)).filter((name) => name.endsWith('_callback_waits.sql'))
    if (file === undefined) throw new Error('the migration is not there')
    await rm(path.join(folder, file))
    await migrate(old.admin, { folder })
    await old.admin.query(
      `select jobs.register_callbacks('Order', 'stripe', 'charge');
       insert into jobs.tb_job_callback (registration_id, job_id, outcome, output_data)
       select 1, job_id, 'success', '{}' from unnest(array['11111111-1111-1111-1111-111111111111', '22222222-2222-2222-2222-222222222222',
         '11111111-1111-1111-1111-111111111111', '11111111-1111-1111-1111-111111111111']::uuid[]) job_id`,
    )
    await migrate(old.admin)
    const { rows } = await old.admin.query('select waits from jobs.tb_job_callback order by callback_id')
    expect(rows.map((row) => Object(row).waits)).toEqual([false, false, true, true])
  } finally {
    await rm(folder, { recursive: true })
    await old.drop()
  }
})
