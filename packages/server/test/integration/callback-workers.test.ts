import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { countStuckCallbacks, listCallbacks } from '../../src/control/callbacks.ts'
import { createLogger } from '../../src/platform/logger.ts'
import type { Database } from '../../src/platform/db/database.ts'
import { claimCallbacks, runCallback } from '../../src/queue/callbacks.ts'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import { CallbackRunner } from '../../src/worker/callback-runner.ts'
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
  statesOf,
} from './callback-fixture.ts'
import { scalar } from './queue-fixture.ts'

let db: TestDatabase
const runners = openShop((opened) => {
  db = opened
})

describe('exactly once', () => {
  it('with several workers at it', async () => {
    const entities = [newEntity(), newEntity(), newEntity()]
    for (const entity of entities) await register(db.admin, entity, both)
    const ids: string[] = []
    for (let round = 0; round < 20; round += 1) {
      for (const entity of entities) ids.push(await endJob(db, entity))
    }
    for (const runner of [runners.start(), runners.start(), runners.start()]) runner.wake()
    await expect
      .poll(() => scalar(db.admin, 'select count(*)::int from jobs.tb_job_callback where job_id = any ($1)', [ids]), {
        timeout: 25_000,
      })
      .toBe(0)
    const { rows } = await db.admin.query(
      'select job_id, count(*)::int as count from shop.effects where job_id = any ($1) group by job_id',
      [ids],
    )
    expect(rows).toHaveLength(ids.length)
    expect(rows.map((row) => Object(row).count)).toEqual(ids.map(() => 1))
  })

  it('when its worker is killed between the effect and the commit', async () => {
    // The function has written its row and waits for a lock that this test holds.
    await createFunction(
      db,
      'slow',
      `insert into shop.effects (what, job_id) values ('slow', _job_run_id);
       perform pg_advisory_xact_lock_shared(42)`,
    )
    const entity = newEntity()
    await register(db.admin, entity, { success: 'slow' })
    const holder = await db.admin.connect()
    await holder.query('select pg_advisory_lock(42)')
    const id = await endJob(db, entity)
    const child = spawn(process.execPath, [fileURLToPath(new URL('./fixtures/run-callbacks.ts', import.meta.url))], {
      stdio: ['pipe', 'ignore', 'inherit'],
    })
    child.stdin.write(
      `${JSON.stringify({ workerUrl: db.url('ergon_worker'), callbackUrl: db.url('ergon_callback'), leaseMs: 1_000 })}\n`,
    )
    const waiting = () =>
      scalar(
        db.admin,
        `select count(*)::int from pg_stat_activity a join pg_locks l on l.pid = a.pid
         where a.datname = current_database() and l.locktype = 'advisory' and not l.granted`,
      )
    await expect.poll(waiting, { timeout: 25_000 }).toBe(1)
    child.kill('SIGKILL')
    await once(child, 'exit')
    await holder.query('select pg_advisory_unlock(42)')
    holder.release()
    const runner = runners.start()
    await expect
      .poll(
        () => {
          runner.wake()
          return owedFor(db, id)
        },
        { timeout: 25_000 },
      )
      .toEqual([])
    expect(await effectsOf(db, id)).toHaveLength(1)
  })
})

it('puts a callback aside of which no attempt was told the end', async () => {
  const entity = newEntity()
  await register(db.admin, entity, both)
  const id = await endJob(db, entity)
  // As workers leave it that die one after the other while they run it.
  await db.admin.query('update jobs.tb_job_callback set attempts = max_attempts where job_id = $1', [id])
  runners.start()
  await expect.poll(() => statesOf(db, id), { timeout: 20_000 }).toEqual(['failed'])
  expect(await owedFor(db, id)).toMatchObject([
    { attempts: 10, last_error: 'the session or the worker ended while the callback ran' },
  ])
  expect(await effectsOf(db, id)).toEqual([])
  expect(await countStuckCallbacks(db.admin)).toEqual({ failed: 1, unregistered: 0 })
  expect(await listCallbacks(db.admin, { state: 'failed', limit: 10 })).toMatchObject([{ job_id: id }])
  expect(await listCallbacks(db.admin, { state: 'waiting', limit: 10 })).toEqual([])
})

it('lists what is owed from the oldest on, by number', async () => {
  const entity = newEntity()
  await register(db.admin, entity, both)
  await db.admin.query(`select setval(pg_get_serial_sequence('jobs.tb_job_callback', 'callback_id'), 99997)`)
  const ids: string[] = []
  for (let n = 0; n < 5; n += 1) ids.push(await endJob(db, entity))
  const owed = (await listCallbacks(db.admin, { state: 'waiting', limit: 500 })).filter(({ job_id: id }) =>
    ids.includes(id),
  )
  expect(owed.map(({ job_id: id }) => id)).toEqual(ids)
  expect(owed.at(-1)?.callback_id.length).toBeGreaterThan(owed[0]?.callback_id.length ?? 0)
  await db.admin.query('delete from jobs.tb_job_callback where job_id = any ($1)', [ids])
})

describe('a worker', () => {
  it('lets no slow callback hold up another', async () => {
    await createFunction(
      db,
      'waiting',
      `perform pg_advisory_xact_lock_shared(43); insert into shop.effects (what, job_id) values ('waited', _job_run_id)`,
    )
    const [slow, quick] = [newEntity(), newEntity()]
    await register(db.admin, slow, { success: 'waiting' })
    await register(db.admin, quick, both)
    const holder = await db.admin.connect()
    await holder.query('select pg_advisory_lock(43)')
    // More of them than there are sessions.
    const held: string[] = []
    for (let number = 0; number < 6; number += 1) held.push(await endJob(db, slow))
    const runner = runners.start({ statementMs: 60_000, lockMs: 60_000, sessionMs: 60_000, leaseMs: 90_000 })
    await expect.poll(() => statesOf(db, held[0] ?? ''), { timeout: 20_000 }).toEqual(['running'])
    const id = await endJob(db, quick)
    runner.wake()
    await settled(db, id)
    expect((await owedFor(db, held[0] ?? '')).length).toBe(1)
    await holder.query('select pg_advisory_unlock(43)')
    holder.release()
    for (const one of held) await settled(db, one)
  })

  it('passes over a callback that a lost session still holds, and runs the next one of its registration', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const held = await endJob(db, entity)
    const next = await endJob(db, entity)
    // As the session of a worker's host that lost its power leaves it until the server notices: locked, its lease over.
    const lost = await db.admin.connect()
    await lost.query('begin')
    await lost.query('select from jobs.tb_job_callback where job_id = $1 for update', [held])
    runners.start()
    await settled(db, next)
    expect(await owedFor(db, held)).toMatchObject([{ attempts: 0 }])
    await lost.query('rollback')
    lost.release()
    await settled(db, held)
  })

  it('that is gone before the commit leaves no locks for long', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    const [callback] = await claimCallbacks(db.as('ergon_worker'), { most: 1, busyRegistrations: [], leaseMs: 1_000 })
    if (callback === undefined) throw new Error('nothing was claimed')
    const client = await db.as('ergon_callback').connect()
    client.on('error', () => {})
    const gone: Database = {
      query: (text, values) =>
        text === 'commit' ? new Promise(() => {}) : client.query(text, values === undefined ? undefined : [...values]),
    }
    void runCallback(gone, callback, { statementMs: 500, lockMs: 500 })
    runners.start()
    await settled(db, id)
    client.release(true)
    expect(await effectsOf(db, id)).toHaveLength(1)
  })

  it('gets to a callback however many of slow functions have been due for longer', async () => {
    const claim = () => claimCallbacks(db.as('ergon_worker'), { most: 4, busyRegistrations: [], leaseMs: 60_000 })
    for (let number = 0; number < 4; number += 1) {
      const entity = newEntity()
      await register(db.admin, entity, both)
      await db.admin.query(
        `insert into jobs.tb_job_callback (registration_id, job_id, outcome, output_data)
         select c.registration_id, gen_random_uuid(), 'success', '{}' from jobs.tb_callback c, generate_series(1, 100)
         where c.entity = $1`,
        [entity],
      )
    }
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    const claimed = new Set<string>()
    for (let round = 0; round < 50; round += 1) for (const { jobId } of await claim()) claimed.add(jobId)
    expect(claimed).toContain(id)
    await db.admin.query('delete from jobs.tb_job_callback')
  })

  it('claims none while its login is refused, and says so', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const id = await endJob(db, entity)
    const url = new URL(db.url('ergon_callback'))
    url.password = 'wrong'
    const said: unknown[] = []
    const logger = Object.assign(createLogger('test', 'silent'), { error: (...words: unknown[]) => said.push(words) })
    const runner = new CallbackRunner({
      db: db.as('ergon_worker'),
      callbackUrl: url.toString(),
      logger,
    })
    runner.start()
    await expect.poll(() => said.length, { timeout: 20_000 }).toBeGreaterThan(0)
    await runner.stop()
    expect(JSON.stringify(said)).toContain('DATABASE_REFUSED')
    expect(await owedFor(db, id)).toMatchObject([{ attempts: 0, state: 'waiting' }])
    runners.start()
    await settled(db, id)
  })

  it('runs what was owed a moment before it is stopped', async () => {
    const entity = newEntity()
    await register(db.admin, entity, both)
    const first = await endJob(db, entity)
    const runner = runners.start()
    await settled(db, first)
    const id = await endJob(db, entity)
    await runner.stop()
    expect(await owedFor(db, id)).toEqual([])
  })
})
