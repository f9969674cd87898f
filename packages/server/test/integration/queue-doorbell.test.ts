import { afterAll, afterEach, beforeAll, expect, it, onTestFinished } from 'vitest'
import { Doorbell, type Ring } from '../../src/queue/doorbell.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob, scalar } from './queue-fixture.ts'

let db: TestDatabase
let doorbell: Doorbell
const never = new AbortController().signal
const warnings: unknown[] = []

beforeAll(async () => {
  db = await createTestDatabase()
  doorbell = new Doorbell({
    url: db.url('ergon_worker'),
    logger: { warn: (...warning: unknown[]) => void warnings.push(warning) },
  })
  await doorbell.start()
})
afterAll(async () => {
  await doorbell.stop()
  await db.drop()
})
afterEach(() => db.admin.query('truncate jobs.tb_job_run'))

const locksHeld = () =>
  scalar(
    db.admin,
    `select count(*)::int from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and database = (select oid from pg_database where datname = current_database())`,
  )

/** A session that hears everything on the lanes' channel. */
async function eavesdrop(): Promise<{ heard: string[]; settle(): Promise<void>; [Symbol.dispose](): void }> {
  const client = await db.admin.connect()
  const heard: string[] = []
  let onMarker = () => {}
  client.on('notification', ({ payload }) => (payload === 'marker' ? onMarker() : heard.push(payload ?? '')))
  await client.query('listen ergon_lane')
  return {
    heard,
    async settle() {
      const { promise, resolve } = Promise.withResolvers<void>()
      onMarker = resolve
      await db.admin.query(`select pg_notify('ergon_lane', 'marker')`)
      await promise
    },
    [Symbol.dispose]: () => client.release(true),
  }
}

it('rings for a sleeper, once for a lane, and for nobody else', async () => {
  using ears = await eavesdrop()
  await insertJob(db.as('ergon_enqueue'))
  await ears.settle()
  expect(ears.heard).toEqual([])

  await doorbell.sleepUntilWork(['http', 'docker'], never)
  expect(await locksHeld()).toBe(2)
  await db.as('ergon_enqueue').query(
    `insert into jobs.tb_job_run (identifier, service_name, operation, execution_type)
     select 'd' || g, 's', 'o', case when g % 2 = 0 then 'http' else 'shell' end from generate_series(1, 10) g`,
  )
  await ears.settle()
  expect(ears.heard).toEqual(['http'])
})

it('wakes a sleeper before its next look', async () => {
  const wakes: number[] = []
  // Lets the schedule reach its 100 ms, so that an early wake-up is a ring.
  for (let look = 0; look < 6; look += 1) await doorbell.sleepUntilWork(['http'], never)
  for (let round = 0; round < 10; round += 1) {
    for (let look = 0; look < 5; look += 1) await doorbell.sleepUntilWork(['http'], never)
    const sleeping = doorbell.sleepUntilWork(['http'], never)
    const startedAt = performance.now()
    await insertJob(db.as('ergon_enqueue'))
    await sleeping
    wakes.push(performance.now() - startedAt)
    doorbell.beginLook(['http'])
  }
  expect(wakes.toSorted((a, b) => a - b)[4]).toBeLessThan(50)
})

/** One that is never busy, sleeps until its looks are rare, and takes no ring but the first to be alone. */
async function fallAsleep(lanes: string[]): Promise<Doorbell> {
  const times = { busyAfterMs: 600_000, silenceMs: Infinity }
  const sleeper = new Doorbell({ url: db.url('ergon_worker'), logger: { warn: () => {} }, times })
  await sleeper.start()
  onTestFinished(() => sleeper.stop())
  for (let look = 0; look < 6; look += 1) await sleeper.sleepUntilWork(lanes, never)
  return sleeper
}

/** Sleeps as often as it takes to be rung for. */
async function untilRung(sleeper: Doorbell, lanes: string[]): Promise<Ring> {
  for (;;) {
    const ring = await sleeper.sleepUntilWork(lanes, never)
    if (ring.lanes.length > 0) return ring
  }
}

it('remembers a ring that nobody slept through, until the look that begins after it', async () => {
  const sleeper = await fallAsleep(['http', 'shell'])
  using ears = await eavesdrop()
  await insertJob(db.as('ergon_enqueue'), { execution_type: 'shell' })
  await ears.settle()
  await untilRung(sleeper, ['http', 'shell'])
  // A look at other lanes has not seen it.
  sleeper.beginLook(['http'])
  expect(await sleeper.sleepUntilWork(['http', 'shell'], never)).toMatchObject({ lanes: ['shell'] })
  sleeper.beginLook(['shell'])
  expect(await sleeper.sleepUntilWork(['http', 'shell'], never)).toEqual({ lanes: [], isAlone: false })
})

it('tells a ring after a silence from one that follows another', async () => {
  const sleeper = await fallAsleep(['http'])
  for (const isAlone of [true, false]) {
    await insertJob(db.as('ergon_enqueue'))
    expect(await untilRung(sleeper, ['http'])).toEqual({ lanes: ['http'], isAlone })
    sleeper.beginLook(['http'])
  }
})

it('remembers nothing of lanes that it does not listen for', async () => {
  const sleeper = await fallAsleep(['http'])
  for (let n = 0; n < 100; n += 1) await db.admin.query(`select pg_notify('ergon_lane', 'lane' || $1)`, [n])
  await insertJob(db.as('ergon_enqueue'))
  expect(await untilRung(sleeper, ['http'])).toMatchObject({ lanes: ['http'] })
})

it('lets go of the locks when the worker does not come back to sleep', async () => {
  await doorbell.sleepUntilWork(['http'], never)
  expect(await locksHeld()).toBe(1)
  while ((await locksHeld()) !== 0);
})

it('ends the sleep when it is aborted', async () => {
  const controller = new AbortController()
  for (let look = 0; look < 7; look += 1) await doorbell.sleepUntilWork(['http'], never)
  const sleeping = doorbell.sleepUntilWork(['http'], controller.signal)
  const startedAt = performance.now()
  controller.abort()
  await sleeping
  expect(performance.now() - startedAt).toBeLessThan(70)
})

it('tells of cancelled jobs', async () => {
  const { promise, resolve } = Promise.withResolvers<unknown>()
  doorbell.onCancel(resolve)
  await db.admin.query(`select pg_notify('ergon_cancel', 'some-id some-fence')`)
  expect(await promise).toEqual({ id: 'some-id', fence: 'some-fence' })
})

it('comes back after its connection was cut, and sleeping works meanwhile', async () => {
  await doorbell.sleepUntilWork(['http'], never)
  await db.admin.query(
    `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'ergon-doorbell' and datname = current_database()`,
  )
  do await doorbell.sleepUntilWork(['http'], never)
  while ((await locksHeld()) !== 1)
  expect(warnings.length).toBeGreaterThan(0)
  using ears = await eavesdrop()
  await insertJob(db.as('ergon_enqueue'))
  await ears.settle()
  expect(ears.heard).toEqual(['http'])
})
