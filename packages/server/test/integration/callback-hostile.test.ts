import { describe, expect, it } from 'vitest'
import type { TestDatabase } from '../../src/testing/test-database.ts'
import type { CallbackLimits, CallbackRunner } from '../../src/worker/callback-runner.ts'
import {
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

/** What a registered function may try; afterwards the next callback of the same worker finds nothing of it. */

let db: TestDatabase
const runners = openShop((opened) => {
  db = opened
})

/** Registers a function of this body and ends a job of its entity, which has one attempt to tell of it. */
async function provoke(body: string): Promise<string> {
  const entity = newEntity()
  const name = entity.toLowerCase().replaceAll('-', '')
  await createFunction(db, name, body)
  await register(db.admin, entity, { success: name })
  const id = await endJob(db, entity)
  await db.admin.query('update jobs.tb_job_callback set max_attempts = 1 where job_id = $1', [id])
  return id
}

async function failureOf(id: string): Promise<string> {
  await expect.poll(() => statesOf(db, id), { timeout: 20_000 }).toEqual(['failed'])
  expect(await effectsOf(db, id)).toEqual([])
  return String((await owedFor(db, id))[0]?.['last_error'])
}
/** Another callback of the same worker works. */
async function expectOthersToWork(runner: CallbackRunner): Promise<void> {
  const entity = newEntity()
  await register(db.admin, entity, { success: 'paid' })
  const id = await endJob(db, entity)
  runner.wake()
  await settled(db, id)
  expect(await effectsOf(db, id)).toMatchObject([{ what: 'paid' }])
}

const EFFECT = `insert into shop.effects (what, job_id) values ('hostile', _job_run_id);`

describe('a function that', () => {
  it.each<[what: string, body: string, message: RegExp, limits?: Partial<CallbackLimits>]>([
    ['commits', 'commit', /invalid transaction termination/],
    ['rolls back', 'rollback', /invalid transaction termination/],
    ['raises', `raise exception 'no'`, /^no \(P0001\)$/],
    ['fails an assertion', `assert false, 'no'`, /^no \(P0004\)$/],
    ['raises a long message', `raise exception '%', repeat('x', 2000000)`, /^x{3900} \(P0001\)$/],
    ['becomes a worker', 'set role ergon_worker', /permission denied to set role/],
    ['becomes the owner', 'set role ergon_owner', /permission denied to set role/],
    ['becomes another user', 'set session authorization ergon_worker', /permission denied to set session/],
    ['resets its role and reads jobs', 'reset role; perform from jobs.tb_job_run', /permission denied for table/],
    ['makes what is owed undone', 'delete from jobs.tb_job_callback', /permission denied for table/],
    ['claims others', `perform jobs.claim_callbacks(100, '{}', 60000)`, /permission denied for function/],
    ['registers others', `perform jobs.register_callbacks('a', 'b', 'c')`, /permission denied for function/],
    [
      'ends a callback that is not its own to end',
      'perform jobs.finish_callback(c, gen_random_uuid()) from generate_series(1, 100) c',
      /is not held with this token/,
    ],
    ['waits for ever', 'perform pg_sleep(3600)', /statement timeout/, { statementMs: 300 }],
    [
      'catches its own timeout and goes on for ever',
      `loop begin perform pg_sleep(3600); exception when query_canceled then null; end; end loop`,
      /ran for more than 1000 ms, and its session was ended/,
      { statementMs: 200, sessionMs: 1_000 },
    ],
    [
      'takes the timeouts away and spins',
      `set statement_timeout = 0; set transaction_timeout = 0; set client_connection_check_interval = 0;
       begin loop null; end loop; exception when query_canceled then loop null; end loop; end`,
      /ran for more than 1000 ms, and its session was ended/,
      { statementMs: 200, sessionMs: 1_000 },
    ],
    [
      'floods the client with notices',
      `set client_min_messages = debug1; loop raise notice '%', repeat('x', 1000000); end loop`,
      /sent more than 262144 bytes of messages, and its session was ended/,
    ],
    ['ends its own session', 'perform pg_terminate_backend(pg_backend_pid())', /terminat|ended/],
    [
      'does its work at the commit, however late it is',
      `create temp table late (n integer);
       create function pg_temp.again() returns trigger language plpgsql as $$ begin
         set constraints all deferred;
         if new.n < 3 then insert into late values (new.n + 1); else raise exception 'late'; end if;
         return null; end $$;
       create constraint trigger t after insert on late deferrable initially deferred for each row execute function pg_temp.again();
       insert into late values (1)`,
      /late/,
    ],
  ])('%s, fails alone', async (_what, body, message, limits) => {
    const id = await provoke(`${EFFECT} ${body}`)
    const runner = runners.start(limits)
    expect(await failureOf(id)).toMatch(message)
    await expectOthersToWork(runner)
    // Nothing of it goes on, on the server either.
    await runner.stop()
    const sessions = `select count(*)::int from pg_stat_activity where datname = current_database() and application_name like 'ergon-callback%'`
    await expect.poll(() => scalar(db.admin, sessions), { timeout: 20_000 }).toBe(0)
  })
})

it('leaves nothing in the session for the next callback', async () => {
  const inspect = `insert into shop.effects (what, job_id, value) select 'state', _job_run_id, jsonb_build_object(
    'pid', pg_backend_pid(), 'role', current_user, 'path', current_setting('search_path'), 'timeout', current_setting('statement_timeout'),
    'own', current_setting('shop.mark', true), 'tenant', current_setting('ergon.tenant_id'),
    'tables', (select count(*) from pg_class where relpersistence = 't' and pg_table_is_visible(oid)),
    'prepared', (select count(*) from pg_prepared_statements),
    'cursors', (select count(*) from pg_cursors where is_holdable),
    'channels', (select count(*) from pg_listening_channels()),
    'locks', (select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()))`
  const litter = `set search_path = pg_temp; set statement_timeout = 123456; set shop.mark = 'left'; set ergon.tenant_id = 'somebody';
    set client_encoding = 'LATIN1'; set role ergon_callback; set session characteristics as transaction read only;
    create temp table left_over (n integer); execute 'prepare left_over as select 1'; listen left_over;
    execute 'declare left_over cursor with hold for select 1'; perform pg_advisory_lock(77)`
  const entity = newEntity()
  await createFunction(db, 'litter', `${inspect}; if _output_data ? 'litter' then ${litter}; end if`)
  await register(db.admin, entity, { success: 'litter' })
  // Of one registration, so one after the other and in one session.
  const first = await endJob(db, entity, { litter: true })
  const second = await endJob(db, entity)
  runners.start()
  await settled(db, first)
  await settled(db, second)
  const [before] = await effectsOf(db, first)
  const [after] = await effectsOf(db, second)
  expect(before?.value).toMatchObject({ own: null, tables: 0, prepared: 0, cursors: 0, channels: 0, locks: 0 })
  // The same session, or this shows nothing.
  expect(after?.value).toEqual({ ...Object(before?.value), own: expect.toSatisfy((own) => own === null || own === '') })
})

it('learns no token and sees nothing of the next callback by settings that it gives its own login', async () => {
  await db.admin.query(`
    create schema evil;
    grant usage on schema evil to ergon_callback;
    create table shop.heard (context text);
    grant insert on shop.heard to ergon_callback;
    create function evil.equals(text, text) returns boolean language plpgsql as $$ begin
      insert into shop.heard values ('an operator'); return $1 operator(pg_catalog.=) $2; end $$;
    create operator evil.= (leftarg = text, rightarg = text, function = evil.equals)`)
  const listen = `declare context text; begin raise exception 'x'; exception when others then
    get stacked diagnostics context = pg_exception_context; insert into shop.heard values (context); end`
  await createFunction(db, 'listen', listen)
  const entity = newEntity()
  await register(db.admin, entity, { success: 'listen' })
  try {
    await db.admin.query(`
      alter role ergon_callback set search_path = evil, pg_catalog;
      alter role ergon_callback set log_parameter_max_length_on_error = -1`)
    const id = await endJob(db, entity)
    runners.start()
    await settled(db, id)
  } finally {
    await db.admin.query('alter role ergon_callback reset all')
  }
  const { rows } = await db.admin.query('select context from shop.heard')
  expect(rows).toHaveLength(1)
  expect(JSON.stringify(rows)).not.toContain('parameters')
})

it('finds no function of the same name that an adopted schema’s former owner made', async () => {
  await db.admin.query(`
    create role ergon_test_former_owner;
    grant usage, create on schema jobs to ergon_test_former_owner;
    set role ergon_test_former_owner;
    create function jobs.check_callback_function(text, regprocedure, text) returns void language plpgsql as
      $$ begin raise exception 'as %', current_user; end $$;
    create function jobs.claim_callbacks(text, text, text) returns setof text language plpgsql as
      $$ begin raise exception 'as %', current_user; end $$;
    create function jobs.run_callback(text, text) returns text language plpgsql as
      $$ begin raise exception 'as %', current_user; end $$;
    reset role`)
  try {
    const entity = newEntity()
    await register(db.admin, entity, { success: 'paid' })
    const id = await endJob(db, entity)
    runners.start()
    await settled(db, id)
    expect(await effectsOf(db, id)).toHaveLength(1)
  } finally {
    await db.admin.query('drop owned by ergon_test_former_owner; drop role ergon_test_former_owner')
  }
})
