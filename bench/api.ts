import { randomUUID } from 'node:crypto'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import autocannon from 'autocannon'
import { ApiProcess } from '../packages/server/src/app/api-process.ts'
import { LocalStack } from '../packages/server/src/app/local-stack.ts'
import { homePaths } from '../packages/server/src/config/home-paths.ts'
import { loadSettings } from '../packages/server/src/config/load-settings.ts'
import { createToken } from '../packages/server/src/control/tokens.ts'
import { createPool } from '../packages/server/src/platform/db/database.ts'
import { createLogger } from '../packages/server/src/platform/logger.ts'
import { measureIdleStreams } from './api/idle-streams.ts'
import { type Benchmark, type BenchContext, type Figure, figureOf, median } from './bench.ts'
import { residentMb } from './processes.ts'

const CONNECTIONS = 20
/** So that nobody runs what is only submitted. */
const NEVER = '2099-01-01T00:00:00Z'
const TENANT = 'aaaaaaaa-0000-4000-8000-000000000001'
const INPUT = { words: 'hello', parameters: { amount: 12.5, currency: 'EUR' } }

const api: Benchmark = {
  description:
    'submit and get through the API beside a bare fastify route with one statement; a warm job through it; its memory, also with 1 000 idle streams',
  run: (context) => withServers((servers) => measureAll(servers, context)),
}
export default api

interface Servers {
  url: string
  pid: number
  token: string
  bareUrl: string
  jobId: string
  /** Starts one more. */
  startApi(): Promise<{ url: string; pid: number }>
}

async function measureAll(
  { url, pid, token, bareUrl, jobId, startApi }: Servers,
  context: BenchContext,
): Promise<Figure[]> {
  const { isQuick, progress } = context
  const rounds = isQuick ? 3 : 7
  const seconds = isQuick ? 3 : 8
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
  const call = JSON.stringify({ service: 'echo', operation: 'say', input: INPUT, run_at: NEVER })
  const row = JSON.stringify({
    service_name: 'echo',
    operation: 'say',
    input_data: INPUT,
    execution_type: 'http',
    max_attempts: 4,
    timeout_seconds: 30,
    tenant_id: TENANT,
    run_at: NEVER,
  })
  const json = { 'content-type': 'application/json' }
  const kinds = {
    submit: () => perSecond({ url: `${url}/v1/jobs`, method: 'POST', headers, body: call }, seconds),
    bareSubmit: () => perSecond({ url: `${bareUrl}/jobs`, method: 'POST', headers: json, body: row }, seconds),
    get: () => perSecond({ url: `${url}/v1/jobs/${jobId}`, headers }, seconds),
    bareGet: () => perSecond({ url: `${bareUrl}/jobs/${jobId}` }, seconds),
  }
  const samples: Record<keyof typeof kinds, number[]> = { submit: [], bareSubmit: [], get: [], bareGet: [] }
  for (let round = -1; round < rounds; round++) {
    progress(`submit and get, beside bare routes, in turn (${round + 2} of ${rounds + 1})`)
    for (const [name, work] of Object.entries(kinds) as [keyof typeof kinds, () => Promise<number>][]) {
      const sample = await work()
      if (round >= 0) samples[name].push(sample)
    }
  }
  const rssMb = residentMb(pid)
  progress('warm Python jobs, submitted and waited for, one after the other')
  const resultMs = await measureResults(url, headers, isQuick ? 30 : 100)
  // By a process of its own: freed memory of this one would hide what they take.
  const streams = await measureIdleStreams({ ...(await startApi()), token }, JSON.parse(call) as object, context)
  const reference = (name: string, values: number[]) => ({ name, value: median(values) })
  return [
    figureOf('submit_ratio', samples.submit, 'requests/s', {
      reference: reference('bare fastify, one INSERT', samples.bareSubmit),
      target: { comparison: '>=', bound: 0.35 },
    }),
    figureOf('get_ratio', samples.get, 'requests/s', {
      reference: reference('bare fastify, one SELECT', samples.bareGet),
      target: { comparison: '>=', bound: 0.6 },
    }),
    figureOf('submit_to_result_ms', resultMs, 'ms', { target: { comparison: '<=', bound: 25 } }),
    figureOf('api_rss_mb', [rssMb], 'MB', { target: { comparison: '<=', bound: 150 } }),
    ...streams,
  ]
}

async function perSecond(request: autocannon.Request & { url: string }, seconds: number): Promise<number> {
  const result = await autocannon({ ...request, connections: CONNECTIONS, duration: seconds })
  if (result.non2xx > 0 || result.errors > 0)
    throw new Error(`${request.url}: ${result.non2xx} refusals, ${result.errors} errors`)
  return result.requests.total / result.duration
}

async function measureResults(url: string, headers: Record<string, string>, rounds: number): Promise<number[]> {
  const samples: number[] = []
  for (let round = -5; round < rounds; round++) {
    // The next child becomes ready meanwhile.
    await sleep(150)
    const startedMs = performance.now()
    const answer = await fetch(`${url}/v1/jobs?wait=20`, { method: 'POST', headers, body: JSON.stringify(pythonJob()) })
    const job = (await answer.json()) as { status: string }
    if (job.status !== 'SUCCEEDED') throw new Error(`a job ended as ${JSON.stringify(job)}`)
    if (round >= 0) samples.push(performance.now() - startedMs)
  }
  return samples
}

function pythonJob(): object {
  return {
    schema_version: '1.0',
    job_id: randomUUID(),
    job_type: 'object_execute',
    environment: { language: 'python', env_version: 'python-sci' },
    inputs: {
      object: {
        type: 'code',
        content: { format: 'text', value: 'print(6 * 7)' },
        runtime: { language: 'python' },
      },
    },
  }
}

/** A database, a worker and an API of their own, and a bare server on the same database. */
async function withServers<T>(work: (servers: Servers) => Promise<T>): Promise<T> {
  const home = await mkdtemp(path.join(os.tmpdir(), 'ergon-bench-'))
  await chmod(home, 0o711)
  const registry = path.join(home, 'registry.yaml')
  await writeFile(registry, REGISTRY)
  const settings = { ...loadSettings(process.env).settings, home, databaseUrl: null, registry }
  const paths = homePaths(settings)
  const logger = createLogger('ergon-bench', 'error')
  const stack = new LocalStack({ settings, paths, logger, env: process.env, warmUp: true })
  const closers: (() => Promise<unknown>)[] = [() => rm(home, { recursive: true, force: true }), () => stack.stop()]
  try {
    await stack.prepare()
    const { databaseUrl, apiDatabaseUrl } = await stack.ensure('worker')
    const db = createPool(databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-bench' })
    closers.push(() => db.end())
    const startApi = async () => {
      const listen = '127.0.0.1:0'
      const server = new ApiProcess({
        settings,
        paths,
        databaseUrl: apiDatabaseUrl ?? '',
        listen,
        isDev: false,
        logger,
      })
      closers.push(() => server.stop())
      const url = await server.start()
      return { url, pid: server.pid ?? 0 }
    }
    const { url, pid } = await startApi()
    const token = await createToken(db, {
      name: 'bench',
      scopes: ['submit', 'read'],
      tenantId: TENANT,
      expiresAt: null,
      rateLimitPerMinute: 10_000_000,
    })
    const bare = spawn(process.execPath, [path.join(import.meta.dirname, 'api/bare-server.ts'), databaseUrl ?? ''], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    closers.push(() => {
      bare.kill()
      return once(bare, 'exit')
    })
    const [bareUrl] = (await once(createInterface({ input: bare.stdout }), 'line')) as [string]
    const { rows } = await db.query(
      `insert into jobs.tb_job_run (identifier, service_name, operation, input_data, tenant_id, run_at)
       values ('seen', 'echo', 'say', $1, $2, $3) returning id`,
      [JSON.stringify(INPUT), TENANT, NEVER],
    )
    const [{ id: jobId }] = rows as [{ id: string }]
    return await work({ url, pid, token: token.text, bareUrl, jobId, startApi })
  } finally {
    for (const close of closers.toReversed()) await close()
  }
}

const REGISTRY = `services:
  - name: echo
    type: tests
    category: bench
    runner_config: {base_url: "https://echo.example.org"}
    operations:
      - name: say
        input_schema: {type: object, required: [words], properties: {words: {type: string}, parameters: {type: object}}}
`
