import type pg from 'pg'
import { describe, expect, it } from 'vitest'
import { claimCallbacks, retryCallback, runCallback, sweepCallbackWaits } from '../../src/queue/callbacks.ts'
import { retryJob } from '../../src/queue/retry.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import {
  both,
  createFunction,
  effectsOf,
  endJob,
  newEntity,
  openShop,
  owedFor,
  register,
  settled,
} from './callback-fixture.ts'
import { insertJob, scalar } from './queue-fixture.ts'

/** Callbacks that wait for an earlier one of their job, in sessions whose statements come in an order that is chosen. */

let db: TestDatabase
const runners = openShop((opened) => {
  db = opened
})

const FAIL = `select jobs.fail_job($1, 'first')`
const COMPLETE = `select jobs.complete_job_successfully($1, '{}')`
const LIMITS = { statementMs: 10_000, lockMs: 2_000 }

const start = (id: string) => db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [id])
const sweep = (after = '0') => sweepCallbackWaits(db.as('ergon_worker'), after)

/** A job that failed, whose callback is owed, and that runs again. */
async function failOnce(): Promise<string> {
  const entity = newEntity()
  await register(db.admin, entity, both)
  const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
  await start(id)
  await db.as('ergon_enqueue').query(FAIL, [id])
  await retryJob(db.as('ergon_enqueue'), id)
  await start(id)
  return id
}

/** What is owed for the job, oldest first, and whether it is said to wait. */
async function waitsOf(id: string): Promise<Record<string, boolean>> {
  const { rows } = await db.admin.query(
    'select outcome, waits from jobs.tb_job_callback where job_id = $1 order by callback_id',
    [id],
  )
  return Object.fromEntries(rows.map((row) => [String(Object(row).outcome), Boolean(Object(row).waits)]))
}

/** Claims the one that is due for this job. */
async function claimFor(id: string) {
  const claimed = await claimCallbacks(db.as('ergon_worker'), { most: 100, busyRegistrations: [], leaseMs: 60_000 })
  return claimed.find(({ jobId }) => jobId === id)
}

async function claimAndRun(id: string, outcome: string): Promise<void> {
  const callback = await claimFor(id)
  if (callback === undefined) throw new Error('nothing was claimed')
  expect(callback.outcome).toBe(outcome)
  await withClient('ergon_callback', async (client) => {
    expect(await runCallback(client, callback, LIMITS)).toBe('done')
  })
}

/** A session of its own, whose transaction does not outlive it. */
async function withClient<Result>(
  role: 'admin' | 'ergon_enqueue' | 'ergon_callback',
  work: (client: pg.PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await (role === 'admin' ? db.admin : db.as(role)).connect()
  try {
    return await work(client)
  } finally {
    client.release(true)
  }
}

/** After a wake-up that was lost: it still waits, the next sweep lets it go, and it runs. */
async function expectToHeal(id: string): Promise<void> {
  expect(await waitsOf(id)).toEqual({ success: true })
  expect(await claimFor(id)).toBeUndefined()
  await sweep()
  expect(await waitsOf(id)).toEqual({ success: false })
  await claimAndRun(id, 'success')
  expect((await effectsOf(db, id)).map(({ what }) => what)).toEqual(['declined', 'paid'])
}

describe('a callback of a job that owes an earlier one', () => {
  it('waits, and is let go by the transaction that ends the earlier one', async () => {
    const id = await failOnce()
    await db.as('ergon_enqueue').query(COMPLETE, [id])
    expect(await waitsOf(id)).toEqual({ failure: false, success: true })
    await claimAndRun(id, 'failure')
    expect(await waitsOf(id)).toEqual({ success: false })
    await claimAndRun(id, 'success')
    expect((await effectsOf(db, id)).map(({ what }) => what)).toEqual(['declined', 'paid'])
  })

  it('waits on when the end of the earlier one is rolled back', async () => {
    const id = await failOnce()
    await db.as('ergon_enqueue').query(COMPLETE, [id])
    await db.admin.query(`begin; delete from jobs.tb_job_callback where outcome = 'failure'; rollback`)
    await sweep()
    expect(await waitsOf(id)).toEqual({ failure: false, success: true })
  })

  it('that is recorded while the earlier recording is not committed waits for it', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
    await start(id)
    await withClient('ergon_enqueue', async (first) => {
      await first.query('begin')
      await first.query(FAIL, [id])
      await first.query(`update jobs.tb_job_run set status = 'pending' where id = $1`, [id])
      const second = db.as('ergon_enqueue').query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id])
      await expect
        .poll(() =>
          scalar(
            db.admin,
            `select count(*)::int from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'`,
          ),
        )
        .toBe(1)
      await first.query('commit')
      await second
    })
    const { rows } = await db.admin.query(
      'select error_message, waits from jobs.tb_job_callback where job_id = $1 order by callback_id',
      [id],
    )
    expect(rows).toEqual([
      { error_message: 'first', waits: false },
      { error_message: 'CANCELLED: the job was cancelled', waits: true },
    ])
  })
})

describe('a wake-up that is lost is made up for', () => {
  it.each(['read committed', 'repeatable read', 'serializable'])(
    'when the earlier one ends while a %s transaction records the later one',
    async (isolation) => {
      const id = await failOnce()
      await withClient('ergon_enqueue', async (recorder) => {
        await recorder.query(`begin isolation level ${isolation}`)
        await recorder.query(COMPLETE, [id])
        await claimAndRun(id, 'failure')
        await recorder.query('commit')
      })
      await expectToHeal(id)
    },
  )

  it('when the earlier one has ended since the snapshot of who records the later one', async () => {
    const id = await failOnce()
    await withClient('ergon_enqueue', async (recorder) => {
      await recorder.query('begin isolation level repeatable read')
      await recorder.query('select from jobs.tb_job_run limit 1')
      await claimAndRun(id, 'failure')
      await recorder.query(COMPLETE, [id])
      await recorder.query('commit')
    })
    await expectToHeal(id)
  })

  it('when the later one is recorded while the end of the earlier one is not committed', async () => {
    const id = await failOnce()
    const callback = await claimFor(id)
    if (callback === undefined) throw new Error('nothing was claimed')
    await withClient('ergon_callback', async (runner) => {
      await runner.query('begin')
      await runner.query('select jobs.run_callback($1::bigint, $2::uuid)', [callback.id, callback.token])
      await db.as('ergon_enqueue').query(COMPLETE, [id])
      await sweep()
      expect(await waitsOf(id)).toEqual({ failure: false, success: true })
      await runner.query('commit')
    })
    await expectToHeal(id)
  })

  it('when somebody has the later one locked, for whom neither the end nor a sweep waits', async () => {
    const id = await failOnce()
    await db.as('ergon_enqueue').query(COMPLETE, [id])
    await withClient('admin', async (holder) => {
      await holder.query('begin')
      await holder.query(`select from jobs.tb_job_callback where job_id = $1 and outcome = 'success' for update`, [id])
      await claimAndRun(id, 'failure')
      await sweep()
      expect(await waitsOf(id)).toEqual({ success: true })
      await holder.query('rollback')
    })
    await expectToHeal(id)
  })

  it('when an owner gives the earlier one up in repeatable read, and the later one was changed since', async () => {
    const id = await failOnce()
    await db.as('ergon_enqueue').query(COMPLETE, [id])
    const [failure, success] = await owedFor(db, id)
    await withClient('admin', async (owner) => {
      await owner.query('begin isolation level repeatable read')
      await owner.query('select from jobs.tb_job_callback')
      expect(await retryCallback(db.admin, String(success?.['callback_id']))).toBe('queued')
      await owner.query('delete from jobs.tb_job_callback where callback_id = $1', [failure?.['callback_id']])
      await owner.query('commit')
    })
    expect(await waitsOf(id)).toEqual({ success: true })
    await sweep()
    expect(await waitsOf(id)).toEqual({ success: false })
    await claimAndRun(id, 'success')
  })

  it('by workers, which sweep of themselves', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    await db.admin.query('update jobs.tb_job_callback set waits = true where job_id = $1', [id])
    runners.start()
    await settled(db, id)
    expect(await effectsOf(db, id)).toHaveLength(1)
  })
})

it('runs callbacks of each job in order while outcomes are recorded and several workers run them', async () => {
  // Slow enough that the next outcome of its job is recorded before, while and after it runs.
  await createFunction(
    db,
    'dawdle',
    `perform pg_sleep(random() / 50); insert into shop.effects (what, job_id) values ('paid', _job_run_id)`,
  )
  const entities = [newEntity(), newEntity(), newEntity()]
  for (const entity of entities) await register(db.admin, entity, { ...both, success: 'dawdle' })
  for (let number = 0; number < 3; number += 1) runners.start()
  const application = db.as('ergon_enqueue')
  const ids = await Promise.all(
    Array.from({ length: 30 }, async (_, index) => {
      const id = await insertJob(application, { entity_type: entities[index % entities.length] })
      for (let round = 0; round < 3; round += 1) {
        await start(id)
        await application.query(FAIL, [id])
        await application.query('select jobs.retry_job($1)', [id])
      }
      await start(id)
      await application.query(COMPLETE, [id])
      return id
    }),
  )
  for (const id of ids) await settled(db, id)
  const orders = await Promise.all(ids.map(async (id) => (await effectsOf(db, id)).map(({ what }) => what)))
  expect(orders).toEqual(ids.map(() => ['declined', 'declined', 'declined', 'paid']))
})
