import { afterAll, beforeAll, expect, test } from 'vitest'
import { Application } from './application.ts'
import { findFreePort } from '../../src/testing/find-free-port.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { findProcesses, leftoversAfter } from './leftovers.ts'

/** The server of another data folder plays the user's own PostgreSQL. */
const theirs = new ErgonHome()
let databaseUrl: string
let home: ErgonHome

beforeAll(async () => {
  const port = String(await findFreePort())
  const { line } = await theirs.start('dev', '--port', port)
  const url = new URL(databaseUrlOf(line))
  url.search = ''
  url.host = `127.0.0.1:${port}`
  const admin = await theirs.connect(url.toString())
  await admin.query('create database application')
  url.pathname = '/application'
  databaseUrl = url.toString()
  home = new ErgonHome({ DATABASE_URL: databaseUrl })
})

afterAll(async () => {
  await home.remove()
  expect(await leftoversAfter(home, 10_000)).toEqual([])
  await theirs.remove()
})

test('a database without our schema is refused with the remedy, then migrated, then runs jobs', async () => {
  const before = await home.run('jobs', 'list')
  expect(before).toMatchObject({ code: 3 })
  expect(before.stderr).toContain('ergon migrate')

  expect(await home.run('migrate')).toMatchObject({ code: 0 })
  const { code, result } = await home.runProgram('print("in my own database")\n')
  expect({ code, stdout: result.outputs.stdout }).toEqual({ code: 0, stdout: 'in my own database\n' })

  const application = new Application(await home.connect(databaseUrl))
  expect((await application.read(result.job_id)).status).toBe('SUCCEEDED')
})

test('a worker started by itself, as ergon_worker and ergon_callback, serves an application of that database', async () => {
  const admin = await home.connect(databaseUrl)
  const urlOf = async (role: string) => {
    await admin.query(`alter role ${role} login password 'for-this-test'`)
    const url = new URL(databaseUrl)
    url.username = role
    url.password = 'for-this-test'
    return url.toString()
  }
  await admin.query(`
    create table told (job_id uuid);
    grant insert on told to ergon_callback;
    create function tell(uuid, text) returns void language sql as 'insert into public.told values ($1)';
    select jobs.register_callbacks('Nothing', 'stripe', 'charge', on_failure => 'tell(uuid, text)');
    insert into jobs.tb_job_run (identifier, service_name, operation, entity_type) values ('to be cancelled', 'stripe', 'charge', 'Nothing');
    update jobs.tb_job_run set status = 'cancelled' where identifier = 'to be cancelled'`)
  const urls = {
    DATABASE_URL: await urlOf('ergon_worker'),
    ERGON_CALLBACK_DATABASE_URL: await urlOf('ergon_callback'),
  }
  const worker = await home.startWith(urls, 'worker', '--drain', '5')
  const application = new Application(admin)
  await application.until(async () => (await admin.query('select from told')).rows.length === 1)
  const result = await application.runPayload({}, 'print("served")\n')
  expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: 'served\n' } })
  worker.child.kill('SIGTERM')
  await application.until(async () => worker.child.exitCode !== null)
  expect(worker.child.exitCode).toBe(0)
})

test('a function of the application is told how its job ended, by a login that can do nothing else', async () => {
  const admin = await home.connect(databaseUrl)
  await admin.query(`
    create schema shop;
    create table shop.reports (job_id uuid, login text, stdout text);
    grant usage on schema shop to ergon_callback;
    grant insert on shop.reports to ergon_callback;
    create function shop.report_done(_job_run_id uuid, _output_data jsonb) returns void language plpgsql as $$ begin
      if to_regclass('shop.is_open') is null then raise exception 'the shop is closed'; end if;
      insert into shop.reports values (_job_run_id, session_user, _output_data ->> 'stdout');
    end $$`)
  const application = new Application(admin)
  const id = await application.insert({}, 'print("a report")\n')
  const { rows } = await admin.query<{ operation: string }>(
    `update jobs.tb_job_run set entity_type = 'Report' where id = $1 returning operation`,
    [id],
  )
  await admin.query(
    `select jobs.register_callbacks('Report', 'executor', $1, on_success => 'shop.report_done(uuid, jsonb)')`,
    [rows[0]?.operation],
  )
  const { child } = await home.start('dev')
  const list = async () => JSON.parse((await home.run('callbacks', 'list', '--json')).stdout)
  await expect
    .poll(list, { timeout: 60_000, interval: 500 })
    .toMatchObject([{ job_id: id, callback_function: 'shop.report_done', last_error: 'the shop is closed (P0001)' }])
  expect((await home.run('callbacks', 'list')).stdout).toMatch(/shop\.report_done +[1-9]\/10 .*the shop is closed/)
  const [{ callback_id: number }] = await list()
  await admin.query('create table shop.is_open ()')
  const retried = await home.run('callbacks', 'retry', number)
  // It may just have run by itself.
  expect([0, 2]).toContain(retried.code)
  await expect.poll(list, { timeout: 60_000, interval: 500 }).toEqual([])
  const told = await admin.query('select * from shop.reports')
  expect(told.rows).toEqual([
    { job_id: id, login: expect.stringMatching(/^ergon_callback_[0-9a-f]{16}$/), stdout: 'a report\n' },
  ])
  expect(await home.run('callbacks', 'retry', number)).toMatchObject({ code: 2 })
  child.kill('SIGTERM')
  await application.until(async () => child.exitCode !== null)
})

test('two commands at once share one stack', async () => {
  const runs = await Promise.all([1, 2, 3].map((n) => home.runProgram(`print(${n})\n`)))
  expect(runs.map(({ result }) => result.outputs.stdout)).toEqual(['1\n', '2\n', '3\n'])
})

test('two machines on one database do not lock each other out', async () => {
  const other = new ErgonHome({ DATABASE_URL: databaseUrl })
  const { child } = await home.start('dev')
  expect((await other.runProgram('print("other")\n')).code).toBe(0)
  for (const { pid } of findProcesses(home.folder, /worker-process/)) process.kill(pid, 'SIGKILL')
  // The worker that replaces it has to sign in anew.
  expect((await home.runProgram('print("still here")\n')).result.outputs.stdout).toBe('still here\n')
  child.kill('SIGTERM')
  await other.remove()
})
