import { afterAll, beforeAll, expect, it } from 'vitest'
import { as, startTestApi, TENANT_B, type TestApi } from './api-fixture.ts'
import { insertJob, scalar } from './queue-fixture.ts'

let api: TestApi
beforeAll(async () => {
  api = await startTestApi()
})
afterAll(() => api.close())

it('lists that take long leave connections for the rest, whoever asks for however many', async () => {
  const id = await insertJob(api.db.admin, { tenant_id: TENANT_B })
  const waiting = async () =>
    Number(
      await scalar(
        api.db.admin,
        `select count(*) from pg_locks where not granted and relation = 'jobs.tb_job_queue'::regclass`,
      ),
    )
  const holder = await api.db.admin.connect()
  const slow: PromiseLike<{ statusCode: number }>[] = []
  let isOpen = false
  try {
    await holder.query('begin; lock table jobs.tb_job_queue in access exclusive mode')
    for (let n = 0; n < 40; n++) {
      const answer = api.app.inject({ url: '/v1/queue', ...as(n % 2 === 0 ? api.tokens.a : api.tokens.all) })
      slow.push(Promise.resolve(answer))
    }
    while ((await waiting()) < 4) await new Promise((resolve) => setTimeout(resolve, 20))
    for (let n = 0; n < 20; n++) {
      const { statusCode } = await api.app.inject({ url: `/v1/jobs/${id}`, ...as(api.tokens.b) })
      expect(statusCode).toBe(200)
    }
    expect(await waiting()).toBe(4)
    await holder.query('rollback')
    isOpen = true
  } finally {
    holder.release(!isOpen)
  }
  expect((await Promise.all(slow)).map(({ statusCode }) => statusCode)).toEqual(slow.map(() => 200))
})
