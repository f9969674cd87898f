import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { releaseJob } from '../../src/queue/release.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import { createTestDatabase, type TestDatabase } from '../../src/testing/test-database.ts'
import { entriesOf } from './audit-fixture.ts'
import { emptyRecord, insertJob, readRow, scalar, someFailure, startWorker, type TestWorker } from './queue-fixture.ts'

let db: TestDatabase
let worker: TestWorker
beforeAll(async () => {
  db = await createTestDatabase()
  worker = await startWorker(db.as('ergon_worker'))
})
afterAll(() => db.drop())

const tenant = '6f1e0a52-9f0b-4a57-9b8b-7a8a3f3c1f10'
async function claimNew(columns: Readonly<Record<string, unknown>> = {}) {
  await insertJob(db.as('ergon_enqueue'), { tenant_id: tenant, correlation_id: 'request 1', ...columns })
  return worker.claimOne()
}
const auditEntry = '{"from": "the worker"}'

describe('an outcome and its entry', () => {
  it('are written together, with the identifier and the login that the database knows', async () => {
    const [first, other, third] = [await claimNew(), await claimNew(), await claimNew()]
    const record = (job: typeof first, number: number) => ({ ...emptyRecord, ...job, auditEntry: `{"job": ${number}}` })
    const late = { ...record(other, 1), fence: tenant }
    expect((await completeJobs(db.as('ergon_worker'), [record(first, 0), late, record(third, 2)])).size).toBe(2)
    const row = await readRow(db.admin, first.id)
    expect(await entriesOf(db.admin, first.id)).toMatchObject([
      { job: 0, recorded_by: 'ergon_worker', identifier: row?.['identifier'] },
    ])
    expect(await entriesOf(db.admin, other.id)).toEqual([])
    expect(await entriesOf(db.admin, third.id)).toMatchObject([{ job: 2 }])
  })

  it('are refused together', async () => {
    const job = await claimNew()
    const tooLarge = { ...emptyRecord, ...job, auditEntry: 'x'.repeat(70_000) }
    await expect(completeJobs(db.as('ergon_worker'), [tooLarge])).rejects.toMatchObject({ code: '23514' })
    expect(await readRow(db.admin, job.id)).toMatchObject({ status: 'running' })
  })

  it.each([
    [null, 'failed'],
    [0, 'retried'],
  ] as const)('of a failure too, with the delay %s', async (retryDelayMs, outcome) => {
    const job = await claimNew()
    const record = { ...emptyRecord, ...job, failure: someFailure, retryDelayMs, auditEntry }
    expect(await failJob(db.as('ergon_worker'), record)).toBe(outcome)
    expect(await failJob(db.as('ergon_worker'), record)).toBe('late')
    expect(await entriesOf(db.admin, job.id)).toHaveLength(1)
    await cancelJob(db.admin, job.id)
  })

  it('of an attempt that was handed back too', async () => {
    const job = await claimNew()
    expect(await releaseJob(db.as('ergon_worker'), job, auditEntry)).toBe(true)
    expect(await releaseJob(db.as('ergon_worker'), job, auditEntry)).toBe(false)
    expect(await entriesOf(db.admin, job.id)).toHaveLength(1)
    await cancelJob(db.admin, job.id)
  })
})

describe('an attempt that ends otherwise', () => {
  it.each([
    ['the function', (id: string) => cancelJob(db.as('ergon_enqueue'), id), 'cancelled', false],
    [
      "an application's UPDATE",
      (id: string) =>
        db.as('ergon_enqueue').query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id]),
      'cancelled',
      true,
    ],
    [
      "an application's DELETE",
      (id: string) => db.as('ergon_enqueue').query('delete from jobs.tb_job_run where id = $1', [id]),
      'deleted',
      true,
    ],
    ["an administrator's TRUNCATE", () => db.admin.query('truncate jobs.tb_job_run'), 'deleted', true],
  ])('by %s has an entry of the database', async (_what, end, outcome, isWorkerKnown) => {
    const job = await claimNew()
    await end(job.id)
    const [entry, ...others] = await entriesOf(db.admin, job.id)
    expect(others).toEqual([])
    expect(entry).toMatchObject({
      event: outcome,
      job: { id: job.id, attempt: 1 },
      who: { tenant_id: tenant, correlation_id: 'request 1' },
      allowed: { service: 'stripe', operation: 'charge', execution_type: 'http' },
      happened: { outcome },
      ...(isWorkerKnown ? { worker: { id: worker.id, name: 'test' } } : {}),
    })
    expect(String(Object(entry).recorded_by)).not.toBe('ergon_worker')
  })

  it('by the loss of its worker has one', async () => {
    const silent = await startWorker(db.as('ergon_worker'), { leaseSeconds: 1 })
    await insertJob(db.as('ergon_enqueue'))
    const job = await silent.claimOne()
    await db.admin.query(
      `update jobs.tb_job_worker set heartbeat_at = now() - interval '1 hour' where worker_id = $1`,
      [silent.id],
    )
    await rescueJobs(db.as('ergon_worker'))
    expect(await entriesOf(db.admin, job.id)).toMatchObject([
      { event: 'lost', happened: { outcome: 'lost', code: 'WORKER_LOST' }, worker: { id: silent.id, name: 'test' } },
    ])
  })

  it('says who is not there when it never began', async () => {
    const id = await insertJob(db.as('ergon_enqueue'))
    await cancelJob(db.admin, id)
    const [entry, ...others] = await entriesOf(db.admin, id)
    expect(entry).toMatchObject({ event: 'cancelled', job: { id, attempt: 0 }, happened: { outcome: 'cancelled' } })
    expect(entry).not.toHaveProperty('worker')
    expect(others).toEqual([])
  })
})

describe('the rights on the trail', () => {
  it.each(['tb_audit', 'tb_audit_seal'])('let nobody change jobs.%s, the owner least of all', async (table) => {
    await claimNew().then((job) => cancelJob(db.admin, job.id))
    const change = table === 'tb_audit' ? 'entry = entry' : 'key_id = key_id'
    for (const statement of [
      `update jobs.${table} set ${change}`,
      `delete from jobs.${table}`,
      `truncate jobs.${table}`,
    ]) {
      await expect(db.admin.query(statement)).rejects.toMatchObject({ code: 'AUDIT_IMMUTABLE' })
      for (const role of ['ergon_worker', 'ergon_api', 'ergon_enqueue'] as const)
        await expect(db.as(role).query(statement)).rejects.toMatchObject({ code: '42501' })
    }
    const { rows } = await db.admin.query(
      `select r.rolname, p.privilege from pg_roles r cross join unnest(array['update', 'delete', 'truncate']) p (privilege)
       where not r.rolsuper and has_table_privilege(r.oid, $1, p.privilege) and r.rolname not like 'pg\\_%'`,
      [`jobs.${table}`],
    )
    expect(rows).toEqual([])
  })

  it('let a worker add entries and seals and read none', async () => {
    const as = db.as('ergon_worker')
    for (const statement of [
      'select * from jobs.tb_audit',
      'select * from jobs.tb_audit_seal',
      `insert into jobs.tb_audit (entry) values ('{}')`,
    ])
      await expect(as.query(statement)).rejects.toMatchObject({ code: '42501' })
    const { rows } = await as.query('select * from jobs.next_audit_seal(10)')
    expect(Object.keys(Object(rows[0]))).toEqual([
      'number',
      'cluster',
      'from_xid',
      'upto_xid',
      'entry_count',
      'entries_digest',
      'previous_digest',
    ])
  })

  it('let a worker seal no range that may still grow', async () => {
    const add = `select jobs.add_audit_seal(coalesce((select number from jobs.next_audit_seal(10)), 1), jobs.cluster_id(), '0', $1::text::xid8, now(),
      repeat('0', 64), sha256(''), decode(repeat('00', 64), 'hex')) as added`
    const far = await scalar(db.admin, `select (pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 100)::text`)
    expect(await scalar(db.admin, add, [far])).toBe(false)
  })
})
