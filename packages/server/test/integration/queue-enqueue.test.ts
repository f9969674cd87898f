import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { inTransaction } from '../../src/platform/db/transaction.ts'
import { enqueueJob } from '../../src/queue/enqueue.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { insertJob, readLive, readRow } from './queue-fixture.ts'

let db: TestDatabase
beforeAll(async () => {
  db = await createTestDatabase()
})
afterAll(() => db.drop())
const app = () => db.as('ergon_enqueue')

describe('an INSERT', () => {
  it('of an already deployed function works, upper case and all', async () => {
    const { rows } = await app().query(
      `insert into jobs.tb_job_run (identifier, idempotency_key, service_name, operation, input_data, tenant_id, triggered_by, correlation_id,
         entity_type, entity_pk, max_attempts, timeout_seconds, execution_type, runner_config, security_context)
       values ('Order_7_stripe_charge', null, 'Stripe', 'charge', '{}', null, null, '7', 'Order', '7', 4, 30, 'HTTP', '{"base_url": "x"}', '{}') returning id`,
    )
    const id = String(Object(rows[0]).id)
    expect(await readRow(db.admin, id)).toMatchObject({
      execution_type: 'http',
      service_name: 'Stripe',
      status: 'pending',
      priority: 100,
    })
    expect(await readLive(db.admin, id)).toMatchObject({
      state: 'ready',
      lane: 'http',
      service: 'stripe',
      attempt: 0,
      max_attempts: 4,
      timeout_seconds: 30,
    })
  })

  it('is gone with its transaction', async () => {
    let id = ''
    const aborted = inTransaction(app(), async (transaction) => {
      id = await insertJob(transaction)
      throw new Error('changed my mind')
    })
    await expect(aborted).rejects.toThrow('changed my mind')
    expect(await readRow(db.admin, id)).toBeNull()
    expect(await readLive(db.admin, id)).toBeNull()
  })

  it.each([
    [{ run_at: new Date(Date.now() + 3_600_000) }, { state: 'scheduled' }],
    [{ gate: 'tenant:1' }, { state: 'gated', gate: 'tenant:1' }],
    [{ queue: 'bulk', execution_type: 'docker' }, { lane: 'docker:bulk' }],
    [
      { max_attempts: null, timeout_seconds: null },
      { max_attempts: 3, timeout_seconds: 300 },
    ],
    [
      { max_attempts: 0, timeout_seconds: -5 },
      { max_attempts: 1, timeout_seconds: 1 },
    ],
    [{ execution_type: 'sandbox' }, { retry_when_lost: true }],
    [{ execution_type: 'sandbox', on_worker_lost: 'fail' }, { retry_when_lost: false }],
    [{ on_worker_lost: 'retry' }, { retry_when_lost: true }],
    [{}, { retry_when_lost: false }],
  ])('of %j is live as %j', async (columns, expected) => {
    expect(await readLive(db.admin, await insertJob(app(), columns))).toMatchObject(expected)
  })

  it.each(['running', 'completed', 'failed', 'cancelled'])('of a %s job is not queued', async (status) => {
    expect(await readLive(db.admin, await insertJob(app(), { status }))).toBeNull()
  })

  it.each([
    { execution_type: 'not a name' },
    { status: 'odd' },
    { queue: 'Bulk!' },
    { on_worker_lost: 'maybe' },
    { failure: {} },
  ])('of %j breaks a CHECK', async (columns) => {
    await expect(insertJob(app(), columns)).rejects.toMatchObject({ code: '23514' })
  })
})

describe('a payload of the job contract', () => {
  const payload = {
    schema_version: '1.0',
    job_type: 'object_execute',
    workspace_id: randomUUID(),
    project_id: 'p',
    document_id: 'd',
    document_revision_id: 'r',
    target: { object_id: 'o' },
    execution_key: 'sha256:k',
    priority: 'high',
    requested_by: { user_id: randomUUID() },
    limits: { timeout_ms: 1_500 },
  }

  it('fills the columns that the row does not state', async () => {
    const id = await insertJob(app(), { service_name: 'executor', operation: 'object_execute', input_data: payload })
    expect(await readRow(db.admin, id)).toMatchObject({
      execution_type: 'sandbox',
      schema_version: '1.0',
      tenant_id: payload.workspace_id,
      triggered_by: payload.requested_by.user_id,
      project_id: 'p',
      document_id: 'd',
      document_revision_id: 'r',
      target_object_id: 'o',
      execution_key: 'sha256:k',
      priority: 50,
      timeout_seconds: 2,
    })
    expect(await readLive(db.admin, id)).toMatchObject({
      lane: 'sandbox',
      priority: 50,
      timeout_seconds: 2,
      retry_when_lost: true,
    })
  })

  it.each([null, [1], { workspace_id: 'x', requested_by: 1, limits: { timeout_ms: 'soon' }, target: 3, priority: {} }])(
    'that is broken (%j) is queued all the same, for a verdict',
    async (broken) => {
      const id = await insertJob(app(), { service_name: 'Executor', input_data: JSON.stringify(broken) })
      expect(await readLive(db.admin, id)).toMatchObject({ lane: 'sandbox', tenant_id: null })
    },
  )
})

describe('too much', () => {
  it.each([
    [
      { input_data: JSON.stringify('x'.repeat(1_100_000)) },
      /^input_data of job "\S+" is 11000\d\d bytes, the limit is 1048576\. Store/,
    ],
    [{ runner_config: JSON.stringify({ a: 'x'.repeat(1_100_000) }) }, /^runner_config/],
    [{ identifier: 'i'.repeat(1_025) }, /^identifier of job "i+" is 1025 bytes, the limit is 1024/],
    [{ correlation_id: 'é'.repeat(600) }, /^correlation_id .* is 1200 bytes/],
  ])('is refused with what, how much and the limit', async (columns, message) => {
    await expect(insertJob(app(), columns)).rejects.toMatchObject({
      code: 'INPUT_TOO_LARGE',
      message: expect.stringMatching(message),
    })
  })

  it('cannot hide in numbers that are short to store and long to write out', async () => {
    const numbers = JSON.stringify({ a: Array.from({ length: 100 }, () => 0) }).replaceAll('0', '1e50000')
    await expect(insertJob(app(), { input_data: numbers })).rejects.toMatchObject({ code: 'INPUT_TOO_LARGE' })
    // Beyond what PostgreSQL can write out at all, it refuses by itself.
    const more = JSON.stringify({ a: Array.from({ length: 30_000 }, () => 0) }).replaceAll('0', '1e50000')
    await expect(insertJob(app(), { input_data: more })).rejects.toThrow(/exceeds|maximum|memory/)
  })

  it('cannot hide by being compressed, nor come in by an update', async () => {
    await db.admin.query('create table blob as select jsonb_build_object($1::text, repeat($2, 3000000)) as big', [
      'a',
      'x',
    ])
    const smuggled = `insert into jobs.tb_job_run (identifier, service_name, operation, input_data) select 'smuggled', 's', 'o', big from blob`
    await expect(db.admin.query(smuggled)).rejects.toMatchObject({ code: 'INPUT_TOO_LARGE' })
    const id = await insertJob(app())
    await expect(
      db.admin.query('update jobs.tb_job_run set input_data = big from blob where id = $1', [id]),
    ).rejects.toMatchObject({ code: 'INPUT_TOO_LARGE' })
  })
})

describe('enqueueJob', () => {
  const job = {
    serviceName: 'stripe',
    operation: 'charge',
    executionType: 'http',
    inputJson: '{"n": 12345678901234567890}',
  }

  it('makes a job, and the same identifier of the same tenant is the same job', async () => {
    const tenantId = randomUUID()
    const id = await enqueueJob(db.as('ergon_enqueue'), {
      ...job,
      identifier: 'once',
      tenantId,
      maxAttempts: 7,
      timeoutSeconds: 9,
      priority: 1,
      queue: 'bulk',
      onWorkerLost: 'retry',
    })
    expect(await readRow(db.admin, id)).toMatchObject({
      identifier: 'once',
      tenant_id: tenantId,
      max_attempts: 7,
      timeout_seconds: 9,
      priority: 1,
    })
    expect(await readLive(db.admin, id)).toMatchObject({ lane: 'http:bulk', retry_when_lost: true })
    expect(await enqueueJob(app(), { ...job, identifier: 'once', tenantId })).toBe(id)
    await expect(enqueueJob(app(), { ...job, identifier: 'once', tenantId: null })).rejects.toMatchObject({
      code: 'IDENTIFIER_TAKEN',
    })
  })

  it('agrees with itself when two callers race', async () => {
    const ids = await Promise.all(Array.from({ length: 8 }, () => enqueueJob(app(), { ...job, identifier: 'raced' })))
    expect(new Set(ids).size).toBe(1)
  })

  it('takes the id it is given', async () => {
    const id = randomUUID()
    expect(await enqueueJob(app(), { ...job, id })).toBe(id)
  })

  it.each([{ maxAttempts: 0 }, { maxAttempts: 1_001 }, { timeoutSeconds: 0 }, { timeoutSeconds: 700_000 }])(
    'refuses %j',
    async (limits) => {
      await expect(enqueueJob(app(), { ...job, ...limits })).rejects.toMatchObject({ code: 'INVALID_LIMIT' })
    },
  )
})
