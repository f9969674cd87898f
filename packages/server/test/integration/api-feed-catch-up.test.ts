import type { JobEndEvent } from '@ergon/contract'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { TenantDatabase } from '../../src/platform/db/tenant-database.ts'
import { completeJobs } from '../../src/queue/complete.ts'
import type { ClaimedJob } from '../../src/queue/types.ts'
import { EventReader } from '../../src/testing/event-reader.ts'
import { TENANT_A } from './api-fixture.ts'
import { type LiveTest, startLiveTest } from './live-fixture.ts'
import { emptyRecord, insertJob, scalar } from './queue-fixture.ts'

const FEEDS = 12
/** Some pages, of 128 entries each. */
const TRAIL = 600

let live: LiveTest
let feedUrl: string
beforeAll(async () => {
  live = await startLiveTest()
  feedUrl = live.url('').replace('/jobs//', '/')
  const { admin } = live.api.db
  const old = await insertJob(admin, { tenant_id: TENANT_A, correlation_id: 'old' })
  const job = await live.worker.claimOne()
  await complete(job)
  await admin.query(`insert into jobs.tb_audit (job_id, entry) select $1, $2 from generate_series(1, ${TRAIL})`, [
    old,
    entry,
  ])
})
afterAll(() => live.close())

const entry = JSON.stringify({ event: 'ended', job: { attempt: 1 }, happened: { outcome: 'succeeded' } })
const complete = (job: ClaimedJob) =>
  completeJobs(live.api.db.as('ergon_worker'), [{ ...job, ...emptyRecord, auditEntry: entry }])

/** Has every page that begins inside of the old trail wait, as on a database that is slow to read it. */
function holdPages(xid: string) {
  const gate = Promise.withResolvers<void>()
  const held: number[] = []
  const { query } = TenantDatabase.prototype
  let waiting = 0
  TenantDatabase.prototype.query = async function (text, values) {
    if (text.includes('list_job_ends') && values?.[1] === xid) {
      held.push(++waiting)
      await gate.promise
      waiting--
    }
    return query.call(this, text, values)
  }
  return {
    held,
    release() {
      TenantDatabase.prototype.query = query
      gate.resolve()
    },
  }
}

it('job streams and feeds of the moment do not wait behind feeds that catch up with a long trail', async () => {
  const cluster = String(await scalar(live.api.db.admin, 'select jobs.cluster_id()'))
  const xid = String(
    await scalar(live.api.db.admin, `select xid::text from jobs.tb_audit group by xid having count(*) = ${TRAIL}`),
  )
  const pages = holdPages(xid)
  const behind: EventReader[] = []
  try {
    for (let n = 0; n < FEEDS; n++) {
      const reader = await EventReader.open(`${feedUrl}?correlation_id=new`, live.api.tokens.a, `1.${cluster}.0.0`)
      behind.push(reader)
      // Its first page is read, and all of it filtered away.
      await reader.until(({ lastId }) => lastId !== '')
    }
    expect(pages.held).toEqual([1])

    const newest = await EventReader.open(feedUrl, live.api.tokens.a)
    await newest.until(({ lastId }) => lastId !== '')
    const job = await live.runningJob()
    const stream = await live.follow(job.id)
    const printed = await live.print(job, 'stdout', 0, 'first ')
    await stream.until(({ events }) => events.some(({ type }) => type === 'stdout'))
    await live.print(job, 'stdout', printed, 'last')
    await complete(job)
    await stream.untilOver()
    expect(stream.events.at(-1)?.type).toBe('end')
    await newest.until(({ events }) => events.length > 0)
    newest.close()
    expect(pages.held).toEqual([1])
  } finally {
    pages.release()
  }
  await insertJob(live.api.db.admin, { tenant_id: TENANT_A, correlation_id: 'new' })
  const fresh = await live.worker.claimOne()
  await complete(fresh)
  for (const reader of behind) {
    await reader.until(({ events }) => events.length > 0)
    expect(reader.events.map(({ data }) => (data as JobEndEvent).job.job_id)).toEqual([fresh.id])
    reader.close()
  }
})
