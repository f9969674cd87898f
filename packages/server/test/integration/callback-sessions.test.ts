import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { createLogger } from '../../src/platform/logger.ts'
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
import { scalar } from './queue-fixture.ts'

/** What workers do when their login finds no session, or somebody's was left behind. */

// A login of its own: what is changed of ergon_callback is changed for every test that runs beside this one.
const login = `test_callback_${randomBytes(6).toString('hex')}`
let callbackUrl: string
let db: TestDatabase
const runners = openShop((opened) => {
  db = opened
  const url = new URL(db.adminUrl)
  url.username = login
  url.password = login
  callbackUrl = url.toString()
})
beforeAll(() => db.admin.query(`create role ${login} login password '${login}' in role ergon_callback`))
afterAll(() => db.admin.query(`drop role ${login}`))

const sessionsOf = (condition = 'true') =>
  scalar(
    db.admin,
    `select count(*)::int from pg_stat_activity where datname = current_database() and usename = $1 and ${condition}`,
    [login],
  )

it('costs no callback an attempt that the login finds no connection free', async () => {
  const said: unknown[] = []
  const logger = Object.assign(createLogger('test', 'silent'), { error: (...words: unknown[]) => said.push(words) })
  const entity = newEntity()
  await register(db.admin, entity, both)
  const first = await endJob(db, entity)
  const runner = runners.start({}, { callbackUrl, logger })
  await settled(db, first)
  await db.admin.query(`alter role ${login} connection limit 0`)
  // As when the server was restarted: the session that stood is gone, and there is no other.
  await db.admin.query('select pg_terminate_backend(pid, 10000) from pg_stat_activity where usename = $1', [login])
  const id = await endJob(db, entity)
  runner.wake()
  await expect.poll(() => JSON.stringify(said), { timeout: 20_000 }).toContain('DATABASE_UNREACHABLE')
  expect(await owedFor(db, id)).toMatchObject([{ attempts: 0, state: 'waiting' }])
  await db.admin.query(`alter role ${login} connection limit -1`)
  await settled(db, id)
})

it('ends the session of a killed worker whose callback goes on for ever, and runs the callback again', async () => {
  await db.admin.query('create sequence shop.tries; grant usage on sequence shop.tries to ergon_callback')
  // A sequence is not rolled back. Without the check the server does not look for its client until the statement ends.
  await createFunction(
    db,
    'immortal',
    `if nextval('shop.tries') = 1 then
       set client_connection_check_interval = 0; set statement_timeout = 0; set application_name = 'psql';
       loop begin perform pg_sleep(3600); exception when query_canceled then null; end; end loop;
     end if;
     insert into shop.effects (what, job_id) values ('immortal', _job_run_id)`,
  )
  // As a function can leave its login, which is then another role than that whose sessions it may end.
  await db.admin.query(`alter role ${login} set role = 'ergon_callback'`)
  const entity = newEntity()
  await register(db.admin, entity, { success: 'immortal' })
  const id = await endJob(db, entity)
  const child = spawn(process.execPath, [fileURLToPath(new URL('./fixtures/run-callbacks.ts', import.meta.url))], {
    stdio: ['pipe', 'ignore', 'inherit'],
  })
  child.stdin.write(`${JSON.stringify({ workerUrl: db.url('ergon_worker'), callbackUrl, leaseMs: 1_000 })}\n`)
  const exited = once(child, 'exit')
  const sleeping = () => sessionsOf(`wait_event = 'PgSleep'`)
  try {
    await expect.poll(sleeping, { timeout: 20_000 }).toBe(1)
  } finally {
    child.kill('SIGKILL')
    await exited
  }
  expect(await sleeping()).toBe(1)
  runners.start({ leaseMs: 1_000 }, { callbackUrl })
  await settled(db, id)
  expect(await effectsOf(db, id)).toHaveLength(1)
  expect(await sleeping()).toBe(0)
})
