import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Asker, cancelOwnJob } from '../../src/control/change-job.ts'
import type { DatabasePool } from '../../src/platform/db/database.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { inTransaction } from '../../src/platform/db/transaction.ts'
import { failJob } from '../../src/queue/fail.ts'
import { as, startTestApi, TENANT_A, TENANT_B, type TestApi } from './api-fixture.ts'
import { entriesOf } from './audit-fixture.ts'
import { emptyRecord, insertJob, readRow, someFailure, startWorker, type TestWorker } from './queue-fixture.ts'

let api: TestApi
let worker: TestWorker
beforeAll(async () => {
  api = await startTestApi()
  worker = await startWorker(api.db.as('ergon_worker'))
})
afterAll(() => api.close())

const newJob = (tenantId = TENANT_A) => insertJob(api.db.admin, { tenant_id: tenantId })
async function running(): Promise<string> {
  const id = await newJob()
  await claim(id)
  return id
}
async function claim(id: string) {
  const job = (await worker.claim(100)).find((each) => each.id === id)
  if (job === undefined) throw new Error(`${id} was not claimed`)
  return job
}
async function failed(): Promise<string> {
  const id = await newJob()
  const ended = { ...(await claim(id)), ...emptyRecord, failure: someFailure, retryDelayMs: null }
  await failJob(api.db.as('ergon_worker'), { ...ended, deadLetterReason: 'enough' })
  return id
}
const idOf = (token: string) => (token.split('_')[1] ?? '').replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-')
const post = (id: string, action: string, token = api.tokens.a) =>
  api.app.inject({ method: 'POST', url: `/v1/jobs/${id}/${action}`, ...as(token) })
const changesOf = async (id: string) =>
  (await entriesOf(api.db.admin, id)).filter(({ event }) => ['cancelled', 'retried'].includes(event ?? ''))
const tenantA = () => new TenantDatabase(api.pool, { tenantId: TENANT_A })

describe('the audit trail', () => {
  it.each([
    ['pending', newJob, 0],
    ['running', running, 1],
  ])('names the token that cancelled a %s job, once', async (_, make, attempt) => {
    const id = await make()
    const answer = await post(id, 'cancel')
    expect(answer.json()).toMatchObject({ status: 'CANCELLED' })
    await post(id, 'cancel')
    const by = { token_id: idOf(api.tokens.a), token_name: 'test', request_id: answer.headers['x-request-id'] }
    expect(await changesOf(id)).toMatchObject([
      {
        event: 'cancelled',
        by,
        job: { id, attempt },
        happened: { outcome: 'cancelled' },
        recorded_by: 'ergon_api',
        ...(attempt === 1 ? { worker: { id: worker.id } } : {}),
      },
    ])
  })

  it('names the token that had a failed job tried again, and what was tried', async () => {
    const id = await failed()
    const answer = await post(id, 'retry', api.tokens.all)
    expect(answer.statusCode).toBe(200)
    expect(await changesOf(id)).toMatchObject([
      {
        event: 'retried',
        by: { token_id: idOf(api.tokens.all), token_name: 'test', request_id: answer.headers['x-request-id'] },
        job: { id, attempt: 1 },
        happened: { outcome: 'queued', category: someFailure.category, code: someFailure.code },
      },
    ])
  })

  it('says nothing of what was not done', async () => {
    const id = await newJob()
    expect((await post(id, 'cancel', api.tokens.b)).statusCode).toBe(404)
    expect((await post(id, 'retry')).statusCode).toBe(409)
    expect((await post(id, 'cancel', await api.token(['read', 'submit'], TENANT_A))).statusCode).toBe(403)
    expect(await entriesOf(api.db.admin, id)).toEqual([])
  })

  it('has the entry in the transaction of the change', async () => {
    const id = await newJob()
    const asker = { tokenId: idOf(api.tokens.a), requestId: randomUUID() }
    const undone = tenantA().transaction(async (db) => {
      expect(await cancelOwnJob(db, id, asker)).toBe('cancelled')
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect(await entriesOf(api.db.admin, id)).toEqual([])
    expect(await readRow(api.db.admin, id)).toMatchObject({ status: 'pending' })
  })

  it('names no token for what the API does of its own accord, also behind a call of one', async () => {
    const ids = await Promise.all(Array.from({ length: 12 }, () => newJob()))
    // Every session of the pool has said a token before.
    await Promise.all(ids.map((id) => post(id, 'cancel')))
    const own = await Promise.all(ids.map(() => newJob()))
    await Promise.all(own.map((id) => cancelOwnJob(tenantA(), id, null)))
    for (const id of own) {
      const [entry, ...more] = await changesOf(id)
      expect(entry).toMatchObject({ event: 'cancelled', recorded_by: 'ergon_api' })
      expect(entry).not.toHaveProperty('by')
      expect(more).toEqual([])
    }
  })
})

describe('a token in whose name a job is cancelled', () => {
  async function revoked(): Promise<string> {
    const token = await api.token(['cancel'], TENANT_A)
    await api.db.admin.query('update jobs.tb_api_token set revoked_at = now() where token_id = $1', [idOf(token)])
    return token
  }

  it.each<[string, () => Promise<string>]>([
    ['there is not', () => Promise.resolve(`ergon_${'0'.repeat(32)}_x`)],
    ['is of another tenant', () => Promise.resolve(api.tokens.b)],
    ['may not cancel', () => api.token(['submit', 'read'], TENANT_A)],
    ['was revoked', revoked],
  ])('and that %s is refused, and nothing changes', async (_, make) => {
    const id = await newJob()
    const asker: Asker = { tokenId: idOf(await make()), requestId: randomUUID() }
    for (const db of [tenantA(), new TenantDatabase(api.pool, 'all')])
      await expect(cancelOwnJob(db, id, asker)).rejects.toMatchObject({ code: 'TOKEN_INVALID' })
    expect(await readRow(api.db.admin, id)).toMatchObject({ status: 'pending' })
    expect(await entriesOf(api.db.admin, id)).toEqual([])
  })

  it('is refused once it is revoked, also where the API still believes it', async () => {
    const token = await api.token(['cancel', 'read'], TENANT_A)
    const id = await newJob()
    expect((await post(randomUUID(), 'cancel', token)).statusCode).toBe(404)
    await api.db.admin.query('update jobs.tb_api_token set revoked_at = now() where token_id = $1', [idOf(token)])
    const answer = await post(id, 'cancel', token)
    expect({ status: answer.statusCode, how: answer.headers['www-authenticate'] }).toEqual({
      status: 401,
      how: 'Bearer',
    })
    expect(await readRow(api.db.admin, id)).toMatchObject({ status: 'pending' })
  })

  it('is no word of an application, which may say what it likes', async () => {
    const id = await newJob(TENANT_B)
    await inTransaction(api.db.as('ergon_enqueue'), async (db) => {
      await db.query(`select set_config('ergon.token', $1, true)`, [idOf(api.tokens.b)])
      await db.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id])
    })
    const [entry] = await changesOf(id)
    expect(entry).toMatchObject({ event: 'cancelled', recorded_by: 'ergon_enqueue' })
    expect(entry).not.toHaveProperty('by')
  })
})

describe('an entry that an API process writes itself', () => {
  const write = (db: DatabasePool, entry: string) =>
    db.query('insert into jobs.tb_audit (job_id, entry) values ($1, $2)', [randomUUID(), entry])

  it.each([
    ['{"event": "cancelled", "by": {"token_name": "somebody"}}', '42501'],
    ['{"event": "submitted", "event": "cancelled"}', '42501'],
    ['{"event": "ended"}', '42501'],
    ['{"event": null}', '42501'],
    ['{}', '42501'],
    ['[]', '42501'],
    ['no JSON', '22P02'],
  ])('is not that of somebody else: %s', async (entry, code) => {
    await expect(write(api.db.as('ergon_api'), entry)).rejects.toMatchObject({ code })
  })

  it('is of what it does itself', async () => {
    for (const event of ['submitted', 'url_issued'])
      expect(await write(api.db.as('ergon_api'), JSON.stringify({ event }))).toMatchObject({ rowCount: 1 })
  })
})
