import type { JobEndEvent } from '@ergon/contract'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { JobFeed } from '../../src/api/live/job-feed.ts'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { cancelJob } from '../../src/queue/cancel.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import { failJob } from '../../src/queue/fail.ts'
import { registerServices } from '../../src/queue/register-services.ts'
import { rescueJobs } from '../../src/queue/rescue.ts'
import { deregisterWorker } from '../../src/queue/worker-registration.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { startTestApi, TENANT_A, TENANT_B, type TestApi } from './api-fixture.ts'
import {
  emptyRecord,
  insertJob,
  registrationOf,
  scalar,
  someFailure,
  startWorker,
  type TestWorker,
} from './queue-fixture.ts'

let api: TestApi
let worker: TestWorker
let url: string
beforeAll(async () => {
  api = await startTestApi()
  url = `${await api.app.listen({ host: '127.0.0.1', port: 0 })}/v1/events`
  worker = await startWorker(api.db.admin)
  await registerServices(api.db.admin, worker.id, [registrationOf({})])
})
afterAll(() => api.close())
beforeEach(() => api.db.admin.query('truncate jobs.tb_job_run'))

const entry = (event: string, attempt: number, outcome: string) =>
  JSON.stringify({ format: 'ergon-audit/1', event, job: { attempt }, happened: { outcome, category: null } })

/** Jobs of a tenant that succeed, each in a transaction of its own; gives their ids. */
async function succeed(tenantId: string, count: number, columns: Record<string, unknown> = {}): Promise<string[]> {
  for (let n = 0; n < count; n++) await insertJob(api.db.admin, { tenant_id: tenantId, ...columns })
  const jobs = await worker.claim(count)
  await Promise.all(
    jobs.map((job) =>
      completeJobs(api.db.as('ergon_worker'), [
        { ...job, ...emptyRecord, auditEntry: entry('ended', job.attempt, 'succeeded') },
      ]),
    ),
  )
  return jobs.map(({ id }) => id)
}

/** A job whose worker goes away; gives its id. */
async function lose(tenantId: string): Promise<string[]> {
  await insertJob(api.db.admin, { tenant_id: tenantId })
  const gone = await startWorker(api.db.admin)
  await registerServices(api.db.admin, gone.id, [registrationOf({})])
  const { id } = await gone.claimOne()
  await deregisterWorker(api.db.as('ergon_worker'), gone.id)
  await rescueJobs(api.db.as('ergon_worker'))
  return [id]
}

/** Until the API has asked the database so often, as feeds do. */
async function untilAsked(times: number): Promise<void> {
  const connect = api.pool.connect.bind(api.pool)
  await new Promise<void>((resolve) => {
    let left = times
    api.pool.connect = () => {
      if (--left === 0) resolve()
      return connect()
    }
  })
  api.pool.connect = connect
}

const idsOf = (reader: EventReader) => reader.events.map(({ data }) => (data as JobEndEvent).job.job_id)

/** Ends in the order of the trail. */
async function trail(): Promise<string[]> {
  const { rows } = await api.db.admin.query(
    `select a.job_id from jobs.tb_audit a join jobs.tb_job_run j on j.id = a.job_id order by a.xid, a.seq`,
  )
  return rows.map((row) => String(Object(row).job_id))
}

describe('the feed', () => {
  it('tells each end once and in order, whatever commits late, and goes on behind every one', async () => {
    await succeed(TENANT_A, 1)
    const reader = await EventReader.open(url, api.tokens.a)
    await reader.until((r) => r.lastId !== '')
    const start = reader.lastId

    // It has its place in the trail before all others, and is committed after them.
    await insertJob(api.db.admin, { tenant_id: TENANT_A })
    const late = await worker.claimOne()
    const client = await api.db.as('ergon_worker').connect()
    let isCommitted = false
    try {
      await client.query('begin')
      await completeJobs(client, [{ ...late, ...emptyRecord, auditEntry: entry('ended', 1, 'succeeded') }])
      await succeed(TENANT_A, 20)
      await succeed(TENANT_B, 5)
      await untilAsked(4)
      expect(reader.events).toEqual([])
      await client.query('commit')
      isCommitted = true
    } finally {
      client.release(!isCommitted)
    }
    await succeed(TENANT_A, 200)
    await reader.until((r) => r.events.length >= 221)
    const all = await trail()
    const ownIds = new Set(
      (await api.db.admin.query('select id from jobs.tb_job_run where tenant_id = $1', [TENANT_A])).rows.map((row) =>
        String(Object(row).id),
      ),
    )
    const own = all.filter((id) => ownIds.has(id)).slice(1)
    expect(idsOf(reader)).toEqual(own)
    expect(own).toContain(late.id)
    expect(reader.events[0]).toMatchObject({
      type: 'ended',
      data: { event: 'ended', attempt: 1, outcome: 'succeeded', job: { state: 'completed', tenant_id: TENANT_A } },
    })

    for (const cut of [-1, 0, 1, 99, 150, 219, 220]) {
      const rest = await EventReader.open(url, api.tokens.a, cut < 0 ? start : (reader.events[cut]?.id ?? ''))
      await rest.until((r) => r.events.length >= own.length - cut - 1)
      expect(idsOf(rest)).toEqual(own.slice(cut + 1))
      rest.close()
    }
    reader.close()
  })

  it('tells failures that are tried again, losses and cancellations, and no other entry', async () => {
    const reader = await EventReader.open(url, api.tokens.all)
    await reader.until((r) => r.lastId !== '')
    await api.db.admin.query(`insert into jobs.tb_audit (entry) values ('{"event":"token_created"}'), ('no JSON')`)
    const id = await insertJob(api.db.admin, { tenant_id: TENANT_B })
    await api.db.admin.query(
      `insert into jobs.tb_audit (job_id, entry) values ($1, '{"event":"submitted"}'), ($1, 'no JSON'), ($1, '{"event":"allowed"}')`,
      [id],
    )
    const job = await worker.claimOne()
    await failJob(api.db.as('ergon_worker'), {
      ...job,
      ...emptyRecord,
      failure: someFailure,
      retryDelayMs: 3_600_000,
      auditEntry: entry('ended', 1, 'failed'),
    })
    await cancelJob(api.db.admin, id)
    const [lost = ''] = await lose(TENANT_A)
    await reader.until((r) => r.events.length >= 3)
    expect(reader.events.map(({ type, data }) => [type, Object(data).attempt, Object(data).outcome])).toEqual([
      ['ended', 1, 'failed'],
      ['cancelled', 1, 'cancelled'],
      ['lost', 1, 'lost'],
    ])
    expect(reader.events[2]?.data).toMatchObject({ job: { job_id: lost } })
    expect(reader.events[1]?.data).toMatchObject({ job: { job_id: id, state: 'cancelled', tenant_id: TENANT_B } })
    reader.close()
  })

  it('shows a tenant its own alone, and what the filters let through', async () => {
    const [mine, theirs, some] = await Promise.all([
      EventReader.open(url, api.tokens.a),
      EventReader.open(url, api.tokens.b),
      EventReader.open(
        `${url}?correlation_id=c1&service=STRIPE&operation=charge&tenant_id=${TENANT_A.toUpperCase()}`,
        api.tokens.all,
      ),
    ])
    const readers = [mine, theirs, some]
    for (const reader of readers) await reader.until((r) => r.lastId !== '')
    const plain = await succeed(TENANT_A, 2)
    const [chosen = ''] = await succeed(TENANT_A, 1, { correlation_id: 'c1' })
    const foreign = await succeed(TENANT_B, 1)
    await mine.until((r) => r.events.length >= 3)
    await theirs.until((r) => r.events.length >= 1)
    await some.until((r) => r.events.length >= 1)
    expect(idsOf(mine).toSorted()).toEqual([...plain, chosen].toSorted())
    expect(idsOf(theirs)).toEqual(foreign)
    expect(idsOf(some)).toEqual([chosen])
    for (const reader of readers) reader.close()
    // The id of somebody else's event gives nothing of theirs away.
    const thief = await EventReader.open(url, api.tokens.b, '1.1.0.0')
    await thief.until((r) => r.events.length >= 1)
    expect(idsOf(thief)).toEqual(foreign)
    thief.close()
  })

  it('goes on from what a dump brought out of another cluster', async () => {
    const old = await insertJob(api.db.admin, { tenant_id: TENANT_A })
    for (const xid of [7, 9])
      await api.db.admin.query(
        `insert into jobs.tb_audit (cluster, xid, job_id, entry) values (17, '${xid}', $1, $2)`,
        [old, entry('ended', xid, 'failed')],
      )
    const [fresh = ''] = await succeed(TENANT_A, 1)
    const reader = await EventReader.open(url, api.tokens.a, '1.17.7.99999999999')
    await reader.until((r) => r.events.length >= 2)
    expect(idsOf(reader)).toEqual([old, fresh])
    expect(reader.events[0]?.id).toMatch(/^1\.17\.9\./)
    reader.close()
  })

  it.each(['x', '1.2.3', '1.99999999999999999999.1.1', '2.1.1.1'])('refuses the id %j', async (lastId) => {
    const reader = await (await EventReader.open(url, api.tokens.a, lastId)).untilOver()
    expect({ status: reader.status, ...JSON.parse(reader.body) }).toMatchObject({
      status: 422,
      code: 'EVENT_ID_INVALID',
    })
  })

  it('refuses a filter that there is not', async () => {
    const reader = await (await EventReader.open(`${url}?status=failed`, api.tokens.a)).untilOver()
    expect(reader.status).toBe(422)
  })
})

it('asks once for all feeds of a tenant', async () => {
  let statements = 0
  const count = (db: TenantDatabase): TenantDatabase => {
    const query = db.query.bind(db)
    db.query = (...args) => {
      statements++
      return query(...args)
    }
    return db
  }
  const feed = new JobFeed(count(new TenantDatabase(api.pool, 'all')), () => {})
  const tenant = count(new TenantDatabase(api.pool, { tenantId: TENANT_A }))
  const now = await feed.now()
  const told = new Set<number>()
  for (let n = 0; n < 50; n++) feed.listen({ tenantId: TENANT_A }, tenant, now, () => told.add(n))
  await succeed(TENANT_A, 3)
  while (told.size < 50) await new Promise((resolve) => setTimeout(resolve, 50))
  await feed.stop()
  expect(feed.kept({ tenantId: TENANT_A }, now)).toBeNull()
  expect(Number(await scalar(api.db.admin, 'select count(*) from jobs.tb_audit'))).toBeGreaterThan(0)
  expect(statements).toBeLessThan(50)
})
