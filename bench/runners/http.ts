import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { LocalStack } from '../../packages/server/src/app/local-stack.ts'
import { homePaths } from '../../packages/server/src/config/home-paths.ts'
import { loadSettings } from '../../packages/server/src/config/load-settings.ts'
import { createPool, type Database } from '../../packages/server/src/platform/db/database.ts'
import { createLogger } from '../../packages/server/src/platform/logger.ts'
import { createServices } from '../../packages/server/src/registry/create-services.ts'
import { HttpRunner } from '../../packages/server/src/runners/http/http-runner.ts'
import { BareClient } from '../../packages/server/src/testing/bare-request.ts'
import { HttpTarget } from '../../packages/server/src/testing/http-target.ts'
import { type BenchContext, type Figure, figureOf, measureInterleaved, median } from '../bench.ts'
import { cpuTimeMs, residentMb } from '../processes.ts'
import { workerPid } from '../sandbox/worker-jobs.ts'

const IN_FLIGHT = 200

/** Jobs of an http service through a database and one worker of their own, beside bare requests to the same server. */
export async function measureHttp({ isQuick, progress }: BenchContext): Promise<Figure[]> {
  const target = new HttpTarget()
  const bare = new BareClient()
  await target.start()
  const home = await mkdtemp(path.join(tmpdir(), 'ergon-bench-'))
  await chmod(home, 0o711)
  const registry = path.join(home, 'registry.yaml')
  await writeFile(registry, registryOf(target.origin))
  const settings = { ...loadSettings(process.env).settings, home, databaseUrl: null, registry }
  const logger = createLogger('ergon-bench', 'error')
  const stack = new LocalStack({ settings, paths: homePaths(settings), logger, env: process.env, slots: IN_FLIGHT })
  try {
    await stack.prepare()
    const { databaseUrl } = await stack.ensure('worker')
    const db = createPool(databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-bench' })
    try {
      return [
        ...(await measureOverhead(bare, target, isQuick ? 200 : 1_000, progress)),
        ...(await measureVerdict(db, isQuick ? 50 : 300, progress)),
        ...(await measureThroughput(db, isQuick ? 500 : 3_000, isQuick ? 2 : 5, progress)),
        await measureMemory(db, target, progress),
      ]
    } finally {
      await db.end()
    }
  } finally {
    await stack.stop()
    await bare.close()
    await target.stop()
    await rm(home, { recursive: true, force: true })
  }
}

/** What the runner adds to a request, by itself: no queue, no database. */
async function measureOverhead(
  bare: BareClient,
  target: HttpTarget,
  rounds: number,
  progress: BenchContext['progress'],
): Promise<Figure[]> {
  progress('the http runner and bare requests in turn')
  const run = createHttpRun(registryOf(target.origin))
  const { runnerMs, bareMs } = await measureInterleaved(
    { bareMs: () => bare.get(`${target.origin}/json`), runnerMs: () => run('{"path": "json"}') },
    { warmUps: 50, repetitions: rounds },
  )
  const bareMedian = median(bareMs)
  return [
    figureOf('http_bare_ms', bareMs, 'ms'),
    figureOf(
      'http_overhead_ms',
      runnerMs.map((ms) => ms - bareMedian),
      'ms',
      { target: { comparison: '<=', bound: 3 } },
    ),
  ]
}

async function measureVerdict(db: Database, rounds: number, progress: BenchContext['progress']): Promise<Figure[]> {
  progress('http jobs one after the other')
  const jobsMs: number[] = []
  for (let i = -10; i < rounds; i++) {
    const [jobMs = 0] = await runJobs(db, 'json', 1)
    if (i >= 0) jobsMs.push(jobMs)
  }
  return [figureOf('http_claim_to_verdict_ms', jobsMs, 'ms')]
}

/** The runner of a registry's one service, with nothing around it. */
function createHttpRun(text: string): (inputJson: string) => Promise<void> {
  const bundle = {
    file: 'bench.yaml',
    text,
    profile: 'development',
    variables: {},
    secretFiles: {},
    scripts: {},
  } as const
  const runner = new HttpRunner()
  const services = createServices(bundle, { executionTypes: ['http'], checkConfig: () => {} })
  const client = runner.validateConfig(services.resolve('target', 'get').runnerConfig)
  const signal = new AbortController().signal
  return async (inputJson) => {
    const job = { id: randomUUID(), serviceName: 'target', operation: 'get', inputJson }
    const { verdict } = await runner.execute({ ...job, timeoutSeconds: 30, attempt: 1, maxAttempts: 1 }, client, {
      tenantId: null,
      triggeredBy: null,
      correlationId: null,
      securityContextJson: null,
      signal,
      onOutput: () => {},
      registerSecret: () => {},
      resolveDatasets: () => Promise.resolve(new Set()),
      spoolFolder: '/nonexistent',
    })
    if (verdict.kind !== 'succeeded') throw new Error(`a request ended as ${verdict.kind}`)
  }
}

async function measureThroughput(
  db: Database,
  jobs: number,
  rounds: number,
  progress: BenchContext['progress'],
): Promise<Figure[]> {
  progress(`${jobs} http jobs at once`)
  const perSecond: number[] = []
  const cpuMs: number[] = []
  const worker = await workerPid(db)
  for (let i = 0; i < rounds; i++) {
    const startedAt = performance.now()
    const usedMs = cpuTimeMs(worker)
    await runJobs(db, 'json', jobs)
    perSecond.push((1_000 * jobs) / (performance.now() - startedAt))
    cpuMs.push((cpuTimeMs(worker) - usedMs) / jobs)
  }
  return [
    figureOf('http_jobs_per_s', perSecond, 'jobs/s', { target: { comparison: '>=', bound: 1_000 } }),
    // What a busy machine changes least: the worker's own share of a job.
    figureOf('http_worker_cpu_ms', cpuMs, 'ms/job'),
  ]
}

async function measureMemory(db: Database, target: HttpTarget, progress: BenchContext['progress']): Promise<Figure> {
  progress(`${IN_FLIGHT} http jobs in flight`)
  target.seen.length = 0
  const ids = await insertJobs(db, 'slow', IN_FLIGHT)
  while (target.seen.length < IN_FLIGHT) await sleep(20)
  await sleep(500)
  const worker = residentMb(await workerPid(db))
  await db.query(`update jobs.tb_job_run set status = 'cancelled' where id = any ($1)`, [ids])
  return figureOf('worker_rss_mb', [worker], 'MB', { target: { comparison: '<=', bound: 128 } })
}

/** Milliseconds from claim to recorded verdict of each job, by the database's clock. */
async function runJobs(db: Database, page: string, count: number): Promise<number[]> {
  const ids = await insertJobs(db, page, count)
  // The live jobs alone: to count thousands of rows fifty times a second would take a third of a core from what is measured.
  for (let isBusy = true; isBusy; ) {
    await sleep(count > 1 ? 20 : 2)
    const { rows } = await db.query('select exists (select from jobs.tb_job_queue) as busy')
    isBusy = (rows[0] as { busy: boolean }).busy
  }
  const { rows } = await db.query(
    `select status, 1000 * extract(epoch from completed_at - started_at)::float8 as ms from jobs.tb_job_run where id = any ($1)`,
    [ids],
  )
  const jobs = rows as { status: string; ms: number }[]
  const completed = jobs.filter(({ status }) => status === 'completed')
  if (completed.length < count) throw new Error(`${count - completed.length} of ${count} jobs failed`)
  return completed.map(({ ms }) => ms)
}

async function insertJobs(db: Database, page: string, count: number): Promise<string[]> {
  const { rows } = await db.query(
    `insert into jobs.tb_job_run (identifier, service_name, operation, execution_type, input_data)
     select gen_random_uuid()::text, 'target', 'get', 'http', jsonb_build_object('path', $1::text)
     from generate_series(1, $2) returning id`,
    [page, count],
  )
  return rows.map((row) => (row as { id: string }).id)
}

function registryOf(origin: string): string {
  return `services:
  - name: target
    type: api
    category: bench
    operations: [{name: get, timeout: 120, input_schema: {path: string}, output_schema: {status_code: integer}}]
    runner_config: {base_url: "${origin}"}
    security_policy: {allowed_networks: [127.0.0.1/32]}
`
}
