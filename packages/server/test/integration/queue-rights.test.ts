import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TEST_ROLES } from '../../src/testing/roles.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
  await insertJob(db.admin)
})
afterAll(() => db.drop())

async function names(query: string): Promise<string[]> {
  const { rows } = await db.admin.query(query)
  const found = rows.map((row) => String(Object(row).name))
  expect(found.length).toBeGreaterThan(0)
  return found
}

describe('nobody in particular', () => {
  it('may execute no function of ours', async () => {
    const functions = await names(
      `select oid::regprocedure::text as name from pg_proc where pronamespace = 'jobs'::regnamespace`,
    )
    await db.admin.query('create role test_nobody').catch(() => {})
    for (const name of functions) {
      const { rows } = await db.admin.query(`select has_function_privilege('test_nobody', $1, 'execute') as may`, [
        name,
      ])
      expect({ name, ...Object(rows[0]) }).toEqual({ name, may: false })
    }
  })
})

describe('every function that runs with its owner’s rights', () => {
  it('belongs to ergon_owner and fixes its search path', async () => {
    const { rows } = await db.admin.query(
      `select oid::regprocedure::text as name from pg_proc where pronamespace = 'jobs'::regnamespace and prosecdef
         and (pg_get_userbyid(proowner) <> 'ergon_owner' or not coalesce(proconfig, '{}') @> array['search_path=pg_catalog, pg_temp'])`,
    )
    expect(rows).toEqual([])
  })
})

describe('a worker', () => {
  it.each([
    ['r', ['select from', 'insert into', 'delete from']],
    ['v', ['select from']],
  ])('may touch no relation of kind %s', async (kind, verbs) => {
    const relations = await names(
      `select format('jobs.%I', relname) as name from pg_class where relnamespace = 'jobs'::regnamespace and relkind = '${kind}'`,
    )
    for (const relation of relations) {
      for (const verb of verbs) {
        const statement = `${verb} ${relation}${verb === 'insert into' ? ' default values' : ''}`
        const refusal = await db
          .as('ergon_worker')
          .query(statement)
          .catch((error: unknown) => error)
        expect({ statement, code: Object(refusal).code }).toEqual({ statement, code: '42501' })
      }
    }
  })

  it('may execute exactly the functions of its trade', async () => {
    const allowed = await names(
      `select proname as name from pg_proc where pronamespace = 'jobs'::regnamespace and has_function_privilege('ergon_worker', oid, 'execute') order by 1`,
    )
    expect(allowed).toEqual([
      'abandon_jobs',
      'add_audit_seal',
      'append_audit',
      'append_output',
      'claim_callbacks',
      'claim_jobs',
      'complete_jobs',
      'database_identity',
      'deregister_worker',
      'drain_worker',
      'fail_callback',
      'has_due_callback',
      'heartbeat',
      'lane_doorbell_key',
      'live_attempts',
      'next_audit_seal',
      'promote_jobs',
      'record_failure',
      'register_artifacts',
      'register_services',
      // As workers of the version before call it.
      'register_services',
      'register_worker',
      'release_jobs',
      'rescue_jobs',
      'resolve_datasets',
      'sweep_callback_waits',
    ])
  })
})

describe('who runs callbacks', () => {
  it('may execute these functions and touch no relation', async () => {
    const allowed = await names(
      `select proname as name from pg_proc where pronamespace = 'jobs'::regnamespace and has_function_privilege('ergon_callback', oid, 'execute') order by 1`,
    )
    expect(allowed).toEqual(['fail_callback', 'finish_callback', 'run_callback', 'take_callback'])
    const { rows } = await db.admin.query(
      `select relname from pg_class where relnamespace = 'jobs'::regnamespace and relkind in ('r', 'v', 'S')
         and has_table_privilege('ergon_callback', oid, 'select, insert, update, delete, truncate, references, trigger')`,
    )
    expect(rows).toEqual([])
  })

  it.each(['ergon_worker', 'ergon_api', 'ergon_enqueue', 'ergon_callback'] as const)(
    'is not chosen by %s: it may register nothing and become nobody',
    async (role) => {
      for (const statement of [
        `select jobs.register_callbacks('Order', 'stripe', 'charge')`,
        'set role ergon_owner',
        ...TEST_ROLES.filter((other) => other !== role).map((other) => `set role ${other}`),
      ]) {
        const refusal = await db
          .as(role)
          .query(statement)
          .catch((error: unknown) => error)
        expect({ statement, code: Object(refusal).code }).toEqual({ statement, code: '42501' })
      }
    },
  )
})

describe('the API', () => {
  it.each([
    'tb_job_run',
    'tb_job_queue',
    'tb_job_worker',
    'tb_job_attempt',
    'tb_job_output',
    'tb_artifact',
    'tb_late_result',
    'tb_schema_migration',
    'tb_service',
    'tb_worker_service',
    'tb_callback',
    'v_job_callback',
    'v_job_stats',
  ])('reads %s', async (relation) => {
    await expect(db.as('ergon_api').query(`select * from jobs.${relation}`)).resolves.toBeDefined()
  })

  it.each([
    `update jobs.tb_job_run set tenant_id = null`,
    'delete from jobs.tb_job_run',
    `update jobs.tb_api_token set scopes = '{admin}'`,
    'select * from jobs.tb_api_token',
    'select entry from jobs.tb_audit',
    'select jobs.cancel_job(gen_random_uuid())',
    `select jobs.enqueue_job('a', 'b')`,
    `select jobs.claim_jobs(gen_random_uuid(), '{}', '{}', '{}')`,
    'select token from jobs.tb_job_callback',
  ])('may not: %s', async (statement) => {
    await expect(db.as('ergon_api').query(statement)).rejects.toMatchObject({ code: '42501' })
  })
})

describe('an application', () => {
  it.each([
    'select * from jobs.tb_job_queue',
    'update jobs.tb_artifact set name = name',
    'truncate jobs.tb_job_run',
    `select jobs.rescue_jobs()`,
  ])('may not: %s', async (statement) => {
    await expect(db.as('ergon_enqueue').query(statement)).rejects.toMatchObject({ code: '42501' })
  })
})
