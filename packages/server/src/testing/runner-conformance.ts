import { randomUUID } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { type JobResult, jobResultSchema } from '@ergon/contract'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readJob } from '../control/read-job.ts'
import type { Database } from '../platform/db/database.ts'

const FINAL = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT'])
const PATIENCE_MS = 45_000
/** How much a worker may grow over a job that floods it, in MB. */
const FLOOD_GROWTH_MB = 96

/** A job as an application inserts it. */
export interface ConformanceJob {
  service: string
  operation: string
  input: unknown
}

interface ExpectedFailure {
  category: string
  code: string
}

/** What the suite has to know of a runner to try everything that each of them owes. */
export interface ConformanceSubject {
  executionType: string
  /** A whole registry; `services:` included. Operations have time-outs of 20 s and more. */
  registry: string
  /** Files beside the registry, by their names. */
  files?: Readonly<Record<string, string>>
  /** Variables that the registry names, but for PLANTED_SECRET, which the suite sets. */
  env: Readonly<Record<string, string>>
  success: ConformanceJob & { result: unknown }
  /** What of resource_usage the runner measures, as matchers, beside duration_seconds. */
  usage: Readonly<Record<string, unknown>>
  failure: ConformanceJob & ExpectedFailure
  /** A job of half a minute at least. */
  slow: ConformanceJob
  /** Resolves once `slow` is in the middle of its work; without it, once its row says running. */
  untilInTheMiddle?: () => Promise<void>
  /** A job that produces far more than its limits allow. */
  flood: ConformanceJob & ExpectedFailure
  malformedInput: ConformanceJob & { code: string }
  /** Registries that validate-config refuses, each with a part of what it says. */
  malformedConfigs: readonly { registry: string; says: string }[]
  /** A job that shows the value of PLANTED_SECRET in as many ways as its kind of job can, and what must be seen of it. */
  leak: ConformanceJob & { shows: RegExp }
  /** What jobs of this kind have left outside of the stack: containers, connections. Empty when all is well. */
  leftovers(): Promise<string[]>
}

/** A running `ergon dev`, as the suite needs it. */
export interface ConformanceStack {
  db: Database
  artifactsFolder: string
  /** Where the attempts of running jobs keep their files. */
  spoolFolder: string
  /** All that its processes have written to standard error. */
  log(): string
  /** What `ergon validate-config` says of a registry; empty when it is valid. */
  validate(registry: string): Promise<string>
  /** What is left of sandboxes on the machine while no job runs. */
  leftovers(): Promise<string[]>
  stop(): Promise<void>
}

export type StartConformanceStack = (options: {
  registry: string
  files: Readonly<Record<string, string>>
  env: Readonly<Record<string, string>>
}) => Promise<ConformanceStack>

/** What every runner owes, tried through a real queue, worker and database. */
export function describeRunnerConformance(subject: ConformanceSubject, start: StartConformanceStack): void {
  describe(`the ${subject.executionType} runner`, () => {
    const secret = `planted-${randomUUID()}`
    let stack: ConformanceStack
    let workerPid = 0

    beforeAll(async () => {
      const { registry, files = {}, env } = subject
      stack = await start({ registry, files, env: { ...env, PLANTED_SECRET: secret } })
      await run(subject.success)
      workerPid = await findWorker()
    })
    afterAll(() => stack?.stop())

    async function insert({ service, operation, input }: ConformanceJob, timeoutSeconds = 60): Promise<string> {
      const id = randomUUID()
      await stack.db.query(
        `insert into jobs.tb_job_run (id, identifier, service_name, operation, execution_type, input_data, timeout_seconds, max_attempts)
         values ($1, $2, $3, $4, $5, $6, $7, 1)`,
        [id, `conformance_${id}`, service, operation, subject.executionType, JSON.stringify(input), timeoutSeconds],
      )
      return id
    }

    async function read(id: string): Promise<JobResult> {
      const result = await readJob(stack.db, id)
      if (result === null) throw new Error(`no job ${id}`)
      // As a reader of the JSON sees it: numbers are opaque before.
      return jobResultSchema.parse(JSON.parse(JSON.stringify(result)))
    }

    async function untilEnded(id: string): Promise<JobResult> {
      await until(async () => FINAL.has((await read(id)).status))
      return read(id)
    }

    const run = async (job: ConformanceJob) => untilEnded(await insert(job))

    async function findWorker(): Promise<number> {
      const { rows } = await stack.db.query('select pid from jobs.tb_job_worker where $1 = any (lanes)', [
        subject.executionType,
      ])
      return Number(Object(rows[0]).pid)
    }

    async function untilInTheMiddle(id: string): Promise<void> {
      await until(async () => (await read(id)).status === 'RUNNING')
      await subject.untilInTheMiddle?.()
    }

    async function findLeftovers(): Promise<string[]> {
      const spooled = await filesBelow(stack.spoolFolder)
      return [...spooled.map((file) => `spooled ${file}`), ...(await stack.leftovers()), ...(await subject.leftovers())]
    }

    async function expectNothingLeft(): Promise<void> {
      await until(async () => (await findLeftovers()).length === 0).catch(async () => {
        expect(await findLeftovers()).toEqual([])
      })
    }

    test('a success has its result and what it used', async () => {
      const id = await insert(subject.success)
      const result = await untilEnded(id)
      // First, so that a report says why.
      expect(result.error).toBeUndefined()
      expect(result).toMatchObject({ status: 'SUCCEEDED', outputs: { result_json: subject.success.result } })
      const { rows } = await stack.db.query('select resource_usage from jobs.tb_job_run where id = $1', [id])
      const usage: unknown = Object(rows[0]).resource_usage
      expect(usage).toMatchObject({ duration_seconds: expect.any(Number) as unknown, ...subject.usage })
      expect(result.duration_ms).toBeGreaterThanOrEqual(0)
      await expectNothingLeft()
    })

    test('a failure has its category and code', async () => {
      const { category, code, ...job } = subject.failure
      expect(await run(job)).toMatchObject({ status: 'FAILED', error: { category, code } })
      await expectNothingLeft()
    })

    test('a job above its time ends by the clock of the supervisor, with its evidence', async () => {
      const result = await untilEnded(await insert(subject.slow, 1))
      expect(result).toMatchObject({
        status: 'TIMED_OUT',
        error: { category: 'RESOURCE_LIMIT', code: 'WALL_TIME', evidence: { counter: 'wall_ms', limit: 1_000 } },
      })
      expect(result.error?.evidence?.observed).toBeGreaterThanOrEqual(1_000)
      expect(result.error?.evidence?.observed).toBeLessThan(15_000)
      await expectNothingLeft()
    })

    test('a job that is cancelled in the middle is gone at once, and its slot is free', async () => {
      const id = await insert(subject.slow)
      await untilInTheMiddle(id)
      await stack.db.query(`update jobs.tb_job_run set status = 'cancelled' where id = $1`, [id])
      await expectNothingLeft()
      expect(await read(id)).toMatchObject({ status: 'CANCELLED' })
      expect(await run(subject.success)).toMatchObject({ status: 'SUCCEEDED' })
    })

    test('a flood ends at its limit, and the worker stays as it was', async () => {
      const { category, code, ...job } = subject.flood
      const before = await residentMegabytes(workerPid)
      expect(await run(job)).toMatchObject({ status: 'FAILED', error: { category, code } })
      expect((await residentMegabytes(workerPid)) - before).toBeLessThan(FLOOD_GROWTH_MB)
      await expectNothingLeft()
    })

    test('input that is wrong starts nothing', async () => {
      const { code, ...job } = subject.malformedInput
      const result = await run(job)
      expect(result).toMatchObject({ status: 'FAILED', error: { category: 'VALIDATION_ERROR', code } })
      await expectNothingLeft()
    })

    test.each(subject.malformedConfigs)('a registry that is wrong is refused: $says', async ({ registry, says }) => {
      expect(await stack.validate(registry)).toContain(says)
    })

    test('a secret is used and stands nowhere', async () => {
      const { shows, ...job } = subject.leak
      const result = await run(job)
      expect(JSON.stringify(result)).toMatch(shows)
      const forms = [secret, Buffer.from(secret).toString('base64').slice(0, -4), Buffer.from(secret).toString('hex')]
      const places = { ...(await tablesAsText(stack.db)), log: stack.log(), ...(await filesAsText(stack)) }
      const found = Object.entries(places).filter(([, text]) => forms.some((form) => text.includes(form)))
      expect(found.map(([place]) => place)).toEqual([])
    })

    test('the worker is the one that began, and the next job is fine', async () => {
      expect(await findWorker()).toBe(workerPid)
      expect(await run(subject.success)).toMatchObject({ status: 'SUCCEEDED' })
      await expectNothingLeft()
    })
  })
}

async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!(await isTrue())) {
    if (performance.now() > deadline) throw new Error(`still not so after ${PATIENCE_MS} ms`)
    await sleep(25)
  }
}

async function residentMegabytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_024
}

/** Every row of every table of ours, bytes as hexadecimal digits. */
async function tablesAsText(db: Database): Promise<Record<string, string>> {
  const { rows: tables } = await db.query(`select tablename as name from pg_tables where schemaname = 'jobs'`)
  const texts: Record<string, string> = {}
  for (const table of tables) {
    const name = String(Object(table).name)
    const { rows } = await db.query(`select t::text as row from jobs."${name}" t`)
    texts[`table ${name}`] = rows.map((row) => String(Object(row).row)).join('\n')
  }
  if (Object.keys(texts).length < 5) throw new Error('the tables were not seen')
  return texts
}

async function filesAsText({ artifactsFolder, spoolFolder }: ConformanceStack): Promise<Record<string, string>> {
  const files = [...(await filesBelow(artifactsFolder)), ...(await filesBelow(spoolFolder))]
  return Object.fromEntries(
    await Promise.all(files.map(async (file) => [`file ${file}`, await readFile(file, 'latin1')] as const)),
  )
}

async function filesBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  return entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name))
}
