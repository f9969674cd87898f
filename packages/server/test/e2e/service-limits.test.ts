import type { ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Application } from './application.ts'
import { databaseUrlOf, ErgonHome } from './ergon.ts'
import { leftoversAfter } from './leftovers.ts'

/** One service a behaviour; `narrow` is what the tests change. */
function registryOf(narrow: string): string {
  const service = (name: string, code: string, more: string) => `
  - name: ${name}
    type: computation
    category: tests
    execution_type: sandbox
    operations: [{name: run, timeout: 30, max_retries: 2}]
    runner_config: {environment: python-sci, code: "${code}"}
    ${more}`
  return `services:
${service('narrow', 'import time; time.sleep(0.3)', `security_policy: {resource_limits: {memory_mb: 128}${narrow}}`)}
${service('rated', 'pass', 'security_policy: {resource_limits: {memory_mb: 128}, rate_limit_per_minute: 1}')}
${service('moody', 'raise SystemExit(75)', 'retry: {on_exit_codes: [75], backoff_seconds: 0}')}
`
}

describe('limits of a service', () => {
  const home = new ErgonHome({ ERGON_LOG_LEVEL: 'info' })
  let app: Application
  let dev: ChildProcess
  let registry: string

  beforeAll(async () => {
    registry = home.file('registry.yaml', registryOf(', max_concurrent: 1'))
    const started = await home.start('dev', '--registry', registry, '--slots', '4')
    dev = started.child
    app = new Application(await home.connect(databaseUrlOf(started.line)))
  })
  afterAll(async () => {
    await home.remove()
    expect(await leftoversAfter(home, 10_000)).toEqual([])
  })

  /** As functions that know nothing of Ergon's own columns do: the row's type is the column's default, http. */
  async function insert(service: string): Promise<string> {
    const id = randomUUID()
    await app.db.query(
      `insert into jobs.tb_job_run (id, identifier, service_name, operation, input_data, max_attempts)
       values ($1::uuid, $1::text, $2, 'run', '{}', 3)`,
      [id, service],
    )
    return id
  }

  const mostAtOnce = async (ids: readonly string[]): Promise<number> => {
    const { rows } = await app.db.query(
      `select max(n)::int as most from (
         select count(*) as n from jobs.tb_job_run a
         join jobs.tb_job_run b on b.id = any ($1) and a.started_at >= b.started_at and a.started_at < b.completed_at
         where a.id = any ($1) group by a.id) together`,
      [ids],
    )
    return Number(Object(rows[0]).most)
  }
  const insertThree = async () => [await insert('narrow'), await insert('narrow'), await insert('narrow')]

  test('rows that name only the old columns run, one at a time where the registry says so', async () => {
    const ids = await insertThree()
    for (const id of ids) expect(await app.untilEnded(id)).toMatchObject({ status: 'SUCCEEDED' })
    expect(await mostAtOnce(ids)).toBe(1)
  })

  test('ergon jobs show tells what a job waits for, and until when', async () => {
    await app.untilEnded(await insert('rated'))
    const { stdout } = await home.run('jobs', 'show', await insert('rated'))
    expect(stdout).toMatch(
      /waits +behind the gate limit:rated: rate_limit_per_minute 1: used up \(until \d{4}-\d\d-\d\dT/,
    )
  })

  test('an exit code that the service lists is tried again until no attempt is left', async () => {
    const id = await insert('moody')
    expect(await app.untilEnded(id)).toMatchObject({ error: { code: 'NON_ZERO_EXIT', details: { exit_code: 75 } } })
    expect(await app.failureCodes(id)).toEqual(['NON_ZERO_EXIT', 'NON_ZERO_EXIT', 'NON_ZERO_EXIT'])
  })

  test('SIGHUP takes a limit away', async () => {
    writeFileSync(registry, registryOf(''))
    dev.kill('SIGHUP')
    await app.until(async () => {
      const { rows } = await app.db.query(`select max_concurrent from jobs.tb_service where service = 'narrow'`)
      return Object(rows[0]).max_concurrent === null
    })
    const ids = await insertThree()
    for (const id of ids) await app.untilEnded(id)
    expect(await mostAtOnce(ids)).toBeGreaterThan(1)
  })
})
