import { randomUUID } from 'node:crypto'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import type { Database } from '../../src/platform/db/database.ts'
import { createLogger } from '../../src/platform/logger.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { CALLBACK_LIMITS, type CallbackLimits, CallbackRunner } from '../../src/worker/callback-runner.ts'
import { insertJob } from './queue-fixture.ts'

/** A row of what callbacks told the application, in the order they did. */
export interface Effect {
  what: string
  jobId: string
  value: unknown
}

/**
 * An application's schema `shop`: a table that callbacks of the tests write to, with the rights that a callback needs,
 * and two functions of the documented signatures.
 */
async function createShop(db: TestDatabase): Promise<void> {
  await db.admin.query(`
    create schema shop;
    create table shop.effects (seq bigint generated always as identity, what text, job_id uuid, value jsonb);
    grant usage on schema shop to ergon_callback;
    grant insert on shop.effects to ergon_callback;
    create function shop.paid(_job_run_id uuid, _output_data jsonb) returns void language sql as
      $$ insert into shop.effects (what, job_id, value) values ('paid', _job_run_id, _output_data) $$;
    create function shop.declined(_job_run_id uuid, _error_message text) returns void language sql as
      $$ insert into shop.effects (what, job_id, value) values ('declined', _job_run_id, to_jsonb(_error_message)) $$`)
}

/** The functions of the shop, for `register`. */
export const both = { success: 'paid', failure: 'declined' }

/** A file's database with a shop in it, given to `use` before its first test. What the runners start is stopped after each. */
export function openShop(use: (db: TestDatabase) => void): TestRunners {
  let db: TestDatabase | null = null
  const opened = () => {
    if (db === null) throw new Error('the shop opens before the first test')
    return db
  }
  const runners = new TestRunners(opened)
  beforeAll(async () => {
    db = await createTestDatabase()
    await createShop(db)
    use(db)
  })
  afterEach(() => runners.stop())
  afterAll(() => opened().drop())
  return runners
}

/** Makes a function shop.<name>(uuid, jsonb) of this PL/pgSQL body. */
export async function createFunction(db: TestDatabase, name: string, body: string): Promise<void> {
  await db.admin.query(
    `create or replace function shop.${name}(_job_run_id uuid, _output_data jsonb) returns void language plpgsql as $body$ begin ${body}; end $body$`,
  )
}

export async function register(
  db: Database,
  entity: string,
  functions: { success?: string; failure?: string } = {},
): Promise<void> {
  await db.query(`select jobs.register_callbacks($1, 'Stripe', 'Charge', $2::regprocedure, $3::regprocedure)`, [
    entity,
    functions.success === undefined ? null : `shop.${functions.success}(uuid, jsonb)`,
    functions.failure === undefined ? null : `shop.${functions.failure}(uuid, text)`,
  ])
}

/** An entity that no other test of the file uses. */
export function newEntity(): string {
  return `Order_${randomUUID()}`
}

/** Inserts a job of the entity and ends it as an external worker does, which is one statement each. */
export async function endJob(
  db: TestDatabase,
  entity: string,
  output: unknown = { charge_id: 'ch_1' },
): Promise<string> {
  const id = await insertJob(db.as('ergon_enqueue'), { entity_type: entity })
  await db.as('ergon_enqueue').query('select jobs.mark_job_started($1)', [id])
  await db.as('ergon_enqueue').query('select jobs.complete_job_successfully($1, $2)', [id, JSON.stringify(output)])
  return id
}

export async function effectsOf(db: TestDatabase, jobId: string): Promise<Effect[]> {
  const { rows } = await db.admin.query('select what, job_id, value from shop.effects where job_id = $1 order by seq', [
    jobId,
  ])
  return rows.map((row) => ({ what: Object(row).what, jobId: Object(row).job_id, value: Object(row).value }))
}

/** What is owed for a job, oldest first, as the view shows it. */
export async function owedFor(db: TestDatabase, jobId: string): Promise<Record<string, unknown>[]> {
  const text = 'select * from jobs.v_job_callback where job_id = $1 order by callback_id'
  const { rows } = await db.admin.query(text, [jobId])
  return rows.map((row) => ({ ...Object(row) }))
}

/** The states of what is owed for a job, oldest first. */
export async function statesOf(db: TestDatabase, jobId: string): Promise<unknown[]> {
  return (await owedFor(db, jobId)).map(({ state }) => state)
}

/** Until nothing is owed for the job. */
export async function settled(db: TestDatabase, jobId: string): Promise<void> {
  await expect.poll(() => owedFor(db, jobId), { timeout: 20_000 }).toEqual([])
}

/** Starts runners of callbacks and stops them all. */
export class TestRunners {
  readonly #db: () => TestDatabase
  readonly #started: CallbackRunner[] = []

  constructor(db: () => TestDatabase) {
    this.#db = db
  }

  start(
    limits: Partial<CallbackLimits> = {},
    { callbackUrl = this.#db().url('ergon_callback'), logger = createLogger('test', 'silent') } = {},
  ): CallbackRunner {
    const runner = new CallbackRunner({
      db: this.#db().as('ergon_worker'),
      callbackUrl,
      logger,
      limits: { ...CALLBACK_LIMITS, ...limits },
    })
    this.#started.push(runner)
    runner.start()
    return runner
  }

  async stop(): Promise<void> {
    await Promise.all(this.#started.splice(0).map((runner) => runner.stop()))
  }
}
