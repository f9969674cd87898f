import { afterAll, beforeAll, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'

const JOBS = 200

const home = new ErgonHome()
let application: Application

beforeAll(async () => {
  const { line } = await home.start('dev', '--sandbox-slots', '1')
  await Promise.all([1, 2, 3].map(() => home.start('worker', '--sandbox-slots', '1')))
  application = new Application(await home.connect(databaseUrlOf(line)))
})

afterAll(async () => {
  await home.remove()
})

test('200 quick jobs on four workers: every one has exactly one recorded result', { timeout: 420_000 }, async () => {
  const ids: string[] = []
  for (let i = 0; i < JOBS; i++) {
    ids.push(
      await application.insert(
        {},
        `import json, os\njson.dump(${i}, open(os.environ["ERGON_RESULT"], "w"))\nprint("job ${i}")\n`,
      ),
    )
  }
  await application.until(async () => (await count(`status in ('completed', 'failed', 'cancelled')`)) === JOBS, 400_000)

  const { rows } = await application.db.query(
    `select j.id, (j.output_data->>'result_json')::int as result, j.attempts, j.status,
            (select count(*)::int from jobs.tb_job_output o where o.job_id = j.id) as outputs
     from jobs.tb_job_run j`,
  )
  const found = new Map((rows as { id: string }[]).map(({ id, ...rest }) => [id, rest]))
  expect(found.size).toBe(JOBS)
  for (const [i, id] of ids.entries())
    expect(found.get(id)).toEqual({ result: i, attempts: 1, status: 'completed', outputs: 1 })

  expect(await count('true', 'jobs.tb_job_queue')).toBe(0)
  expect(await count('true', 'jobs.tb_job_attempt')).toBe(0)
  expect(await count('true', 'jobs.tb_late_result')).toBe(0)
  // All four took part, or this showed nothing about several workers.
  expect(await count('true', 'jobs.tb_job_worker')).toBe(4)
})

async function count(condition: string, table = 'jobs.tb_job_run'): Promise<number> {
  const { rows } = await application.db.query(`select count(*)::int as n from ${table} where ${condition}`)
  return (rows[0] as { n: number }).n
}
