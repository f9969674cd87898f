import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { DEFAULT_JOB_LIMITS } from '@ergon/contract'
import { useStack } from '../packages/server/src/app/stack-client.ts'
import { type HomePaths, homePaths } from '../packages/server/src/config/home-paths.ts'
import { loadSettings } from '../packages/server/src/config/load-settings.ts'
import type { Settings } from '../packages/server/src/config/settings.ts'
import { submitPayload } from '../packages/server/src/control/submit-job.ts'
import { toSandboxLimits } from '../packages/server/src/domain/limits.ts'
import { createPool, type Database } from '../packages/server/src/platform/db/database.ts'
import { resolveEnvironment } from '../packages/server/src/sandbox/environments/installed-environments.ts'
import type { SandboxObserver, SandboxRequest } from '../packages/server/src/sandbox/sandbox.ts'
import { SandboxdClient, toRunMessage } from '../packages/server/src/sandbox/sandboxd-client.ts'
import { type Benchmark, type Figure, figureOf, median } from './bench.ts'
import { startFloor } from './sandbox/floor.ts'
import { type Residue, takeStock } from './sandbox/residue.ts'

const ENVIRONMENT = 'python-sci'
/** Enough to keep two cores busy, and no more than sandboxd's places. */
const AT_ONCE = 3
const MAX_OUTPUT_BYTES_PER_JOB = 2 ** 20

/** Sandboxes through sandboxd's own protocol beside what they are made of, and what many jobs leave behind. */
const sandbox: Benchmark = {
  description: 'cold sandboxes: throughput, overhead over crun, and what many jobs leave behind (--jobs N)',
  async run({ isQuick, jobs, progress }) {
    const { settings } = loadSettings(process.env)
    const paths = homePaths(settings)
    const { envVersion } = await resolveEnvironment(paths.environments, ENVIRONMENT)
    const use = await useStack(settings, paths, 'worker')
    try {
      const cold = await measureCold(paths, envVersion, isQuick, progress)
      const db = createPool(use.databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-bench' })
      try {
        return [
          ...cold,
          ...(await measureResidue(db, settings, paths, envVersion, jobs ?? (isQuick ? 60 : 400), progress)),
        ]
      } finally {
        await db.end()
      }
    } finally {
      await use.release()
    }
  },
}
export default sandbox

async function measureCold(
  paths: HomePaths,
  envVersion: string,
  isQuick: boolean,
  progress: (text: string) => void,
): Promise<Figure[]> {
  const client = new SandboxdClient(paths.sandboxdSocket)
  const trueRequest = () => request(envVersion, { kind: 'exec', argv: ['/bin/true'] }, [])
  const floor = startFloor(paths.environments, toRunMessage(trueRequest()))
  try {
    progress('/bin/true: sandboxd and crun run of the same bundle in turn')
    const overhead = await inTurn(isQuick ? 15 : 80, {
      crun: () => floor.crun(),
      sandboxd: () => timed(() => runToEnd(client, trueRequest())),
    })
    progress(`python3 -c pass, ${AT_ONCE} at once: sandboxes and bare interpreters in turn`)
    const runs = isQuick ? 15 : 30
    const pass = await inTurn(isQuick ? 4 : 12, {
      bare: async () => runs / (await floor.bare(runs, AT_ONCE)),
      sandbox: async () => (runs * 1000) / (await timed(() => runPassJobs(client, envVersion, runs))),
    })
    progress('the floor of warm starts: forks into all namespaces with numpy and matplotlib imported')
    const forkMs = await inTurn(isQuick ? 20 : 200, { fork: () => floor.fork() })
    const forks = isQuick ? 50 : 300
    const forksPerS = await inTurn(isQuick ? 2 : 5, { fork: async () => forks / (await floor.forks(forks, AT_ONCE)) })
    return [
      figureOf('bare_fork_ms', forkMs.fork, 'ms'),
      figureOf('bare_forks_per_s', forksPerS.fork, 'forks/s'),
      ratioFigure('overhead_ratio', overhead.sandboxd, overhead.crun, { comparison: '<=', bound: 1.25 }),
      figureOf('true_sandbox_ms', overhead.sandboxd, 'ms', {
        reference: { name: 'crun run, same bundle', value: median(overhead.crun) },
      }),
      ratioFigure('cold_pass_ratio', pass.sandbox, pass.bare, { comparison: '>=', bound: 0.65 }),
      figureOf('cold_pass_per_s', pass.sandbox, 'jobs/s', {
        reference: { name: 'python3 -c pass, same environment', value: median(pass.bare) },
      }),
    ]
  } finally {
    await floor.close()
  }
}

/** The worker itself runs the jobs: it is its memory that must stay flat. */
async function measureResidue(
  db: Database,
  settings: Settings,
  paths: HomePaths,
  envVersion: string,
  jobs: number,
  progress: (text: string) => void,
): Promise<Figure[]> {
  const bytes = Math.min(MAX_OUTPUT_BYTES_PER_JOB, Math.ceil(2 ** 30 / jobs))
  progress(`${jobs} jobs through the worker, ${Math.round((jobs * bytes) / 2 ** 20)} MiB of output (${settings.home})`)
  const warmUp = Math.max(10, Math.ceil(jobs / 10))
  await runJobs(db, envVersion, warmUp, bytes)
  const worker = await workerPid(db)
  const before = takeStock(worker, paths.sandboxdSocket)
  await runJobs(db, envVersion, jobs, bytes)
  const after = takeStock(worker, paths.sandboxdSocket)
  const more = (name: keyof Residue) => after[name] - before[name]
  return [
    figureOf('worker_rss_mb', [after.workerMb], 'MB', { target: { comparison: '<=', bound: 128 } }),
    figureOf('worker_rss_growth_mb', [more('workerMb')], 'MB'),
    ...(['descriptors', 'mounts', 'cgroups', 'zombies'] as const).map((name) =>
      figureOf(`${name}_left`, [more(name)], `after ${jobs} jobs`, { target: { comparison: '<=', bound: 0 } }),
    ),
  ]
}

function request(
  envVersion: string,
  entry: SandboxRequest['entry'],
  files: readonly { path: string; text: string }[],
): SandboxRequest {
  return {
    id: `bench-${randomUUID()}`,
    environment: envVersion,
    runtime: 'crun',
    entry,
    env: {},
    isolation: 'fresh',
    seed: null,
    limits: toSandboxLimits(DEFAULT_JOB_LIMITS, 100),
    onOutputLimit: 'kill',
    files: files.map(({ path, text }) => {
      const content = Buffer.from(text)
      return { path, sizeBytes: content.length, read: () => [content] }
    }),
  }
}

const SILENT: SandboxObserver = {
  onStarted() {},
  onOutput() {},
  openResult: () => Promise.reject(new Error('a result was not expected')),
  openArtifact: () => Promise.reject(new Error('an artifact was not expected')),
}

async function runToEnd(client: SandboxdClient, wanted: SandboxRequest): Promise<void> {
  const { evidence } = await client.run(wanted, SILENT, new AbortController().signal)
  if (evidence.exit.kind !== 'exited' || evidence.exit.code !== 0)
    throw new Error(`a sandbox ended as ${JSON.stringify(evidence.exit)}, killed by ${evidence.killed_by}`)
}

async function runPassJobs(client: SandboxdClient, envVersion: string, runs: number): Promise<void> {
  let left = runs
  const next = async (): Promise<void> => {
    while (left-- > 0) {
      const files = [{ path: 'code/main.py', text: 'pass\n' }]
      await runToEnd(client, request(envVersion, { kind: 'python', file: 'code/main.py' }, files))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next))
}

/** Measures each kind once a round, in turn, so that a slow moment of the machine hits all alike; the first round warms up. */
async function inTurn<Name extends string>(
  rounds: number,
  kinds: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(kinds) as Name[]
  const samples = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let round = -1; round < rounds; round++) {
    for (const name of names) {
      const sample = await kinds[name]()
      if (round >= 0) samples[name].push(sample)
    }
  }
  return samples
}

/** The ratio of each round's two measurements: what disturbs one disturbs its neighbour. */
function ratioFigure(
  figure: string,
  samples: readonly number[],
  references: readonly number[],
  target: NonNullable<Figure['target']>,
): Figure {
  const ratios = samples.map((sample, round) => sample / (references[round] ?? Number.NaN))
  return figureOf(figure, ratios, 'x', { target })
}

async function timed(work: () => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  await work()
  return performance.now() - startedMs
}

/** Inserts the jobs and waits until the last one has its verdict. */
async function runJobs(db: Database, envVersion: string, jobs: number, outputBytes: number): Promise<void> {
  const source = `import sys\nsys.stdout.write("x" * ${outputBytes})\n`
  const ids: string[] = []
  for (let i = 0; i < jobs; i++) {
    ids.push(
      await submitPayload(db, {
        schema_version: '1.0',
        job_id: randomUUID(),
        job_type: 'object_execute',
        environment: { language: 'python', env_version: envVersion },
        limits: { max_output_kb: Math.ceil(outputBytes / 1024) + 1 },
        inputs: {
          object: { type: 'code', content: { format: 'text', value: source }, runtime: { language: 'python' } },
        },
      }),
    )
  }
  for (;;) {
    const { rows } = await db.query(
      `select count(*) filter (where status = 'completed')::int as completed, count(*) filter (where status = 'failed')::int as failed
       from jobs.tb_job_run where id = any($1)`,
      [ids],
    )
    const { completed, failed } = rows[0] as { completed: number; failed: number }
    if (failed > 0) throw new Error(`${failed} of ${jobs} jobs failed`)
    if (completed === jobs) return
    await sleep(50)
  }
}

async function workerPid(db: Database): Promise<number> {
  const { rows } = await db.query('select pid from jobs.tb_job_worker order by heartbeat_at desc limit 1')
  const row = rows[0] as { pid: number } | undefined
  if (row === undefined) throw new Error('no worker has signed in')
  return row.pid
}
