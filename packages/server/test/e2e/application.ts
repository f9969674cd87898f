import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Isolation, JobResult } from '@ergon/contract'
import type pg from 'pg'
import { composePayload, type PayloadChange } from '../../src/conformance/compose-payload.ts'
import { readJob } from '../../src/control/read-job.ts'
import type { ErgonHome } from './ergon.ts'
import { findSandboxes } from './leftovers.ts'

const FINAL = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT'])
const PATIENCE_MS = 60_000

/** An application that puts jobs into its own database by plain INSERTs, as users do. */
export class Application {
  readonly db: pg.Client
  readonly #isolation: Isolation

  /** Fresh sandboxes by default: what is looked at does not depend on whether a template happens to be warm. */
  constructor(db: pg.Client, isolation: Isolation = 'fresh') {
    this.db = db
    this.#isolation = isolation
  }

  async insert(change: PayloadChange, program: string): Promise<string> {
    const id = randomUUID()
    const payload = composePayload(id, program, this.#isolation, change)
    await this.db.query(
      `insert into jobs.tb_job_run (id, identifier, service_name, operation, execution_type, input_data)
       values ($1, $2, 'executor', $3, 'sandbox', $4)`,
      [id, `test_${id}`, payload['job_type'], JSON.stringify(payload)],
    )
    return id
  }

  async insertAndRollBack(program: string): Promise<string> {
    await this.db.query('begin')
    const id = await this.insert({}, program)
    await this.db.query('rollback')
    return id
  }

  async runPayload(change: PayloadChange, program: string): Promise<JobResult> {
    return this.untilEnded(await this.insert(change, program))
  }

  async read(id: string): Promise<JobResult> {
    const result = await readJob(this.db, id)
    if (result === null) throw new Error(`no job ${id}`)
    return result
  }

  async untilEnded(id: string): Promise<JobResult> {
    await this.until(async () => FINAL.has((await this.read(id)).status))
    return this.read(id)
  }

  /** The codes of the job's failed attempts, in their order. */
  async failureCodes(id: string): Promise<string[]> {
    const { rows } = await this.db.query(
      `select failure->>'code' as code from jobs.tb_job_attempt where job_id = $1 order by attempt`,
      [id],
    )
    return (rows as { code: string }[]).map(({ code }) => code)
  }

  untilStatus(id: string, statuses: readonly string[]): Promise<void> {
    return this.until(async () => {
      const { rows } = await this.db.query('select status from jobs.tb_job_run where id = $1', [id])
      return statuses.includes((rows[0] as { status: string }).status)
    })
  }

  untilNoSandbox(home: ErgonHome): Promise<void> {
    return this.until(async () => findSandboxes(home).length === 0)
  }

  async until(isTrue: () => Promise<boolean>, patienceMs = PATIENCE_MS): Promise<void> {
    const deadline = performance.now() + patienceMs
    while (!(await isTrue())) {
      if (performance.now() > deadline) throw new Error(`still not so after ${patienceMs} ms`)
      await sleep(25)
    }
  }
}
