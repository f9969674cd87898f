import { setTimeout as sleep } from 'node:timers/promises'
import { useStack } from '../packages/server/src/app/stack-client.ts'
import { type HomePaths, homePaths } from '../packages/server/src/config/home-paths.ts'
import { loadSettings } from '../packages/server/src/config/load-settings.ts'
import type { Settings } from '../packages/server/src/config/settings.ts'
import { createPool, type Database } from '../packages/server/src/platform/db/database.ts'
import { resolveEnvironment } from '../packages/server/src/sandbox/environments/installed-environments.ts'
import { SandboxdClient, toRunMessage } from '../packages/server/src/sandbox/sandboxd-client.ts'
import { type Benchmark, type Figure, figureOf, median } from './bench.ts'
import { type Floor, startFloor } from './sandbox/floor.ts'
import { type Residue, takeStock } from './sandbox/residue.ts'
import { inTurn, ratioFigure, timed } from './sandbox/rounds.ts'
import { pythonRequest, runToEnd, runUntilRemoved, sandboxRequest } from './sandbox/sandboxes.ts'
import { measureWarm } from './sandbox/warm.ts'
import { runJobs, workerPid } from './sandbox/worker-jobs.ts'

const ENVIRONMENT = 'python-sci'
/** Enough to keep two cores busy, and no more than sandboxd's places. */
const AT_ONCE = 3
const MAX_OUTPUT_BYTES_PER_JOB = 2 ** 20

/** Sandboxes through sandboxd's own protocol beside what they are made of, and what many jobs leave behind. */
const sandbox: Benchmark = {
  description: 'cold and warm sandboxes beside crun and bare forks, and what many jobs leave behind (--jobs N)',
  async run({ isQuick, jobs, progress }) {
    const { settings } = loadSettings(process.env)
    const paths = homePaths(settings)
    const { envVersion } = await resolveEnvironment(paths.environments, ENVIRONMENT)
    const use = await useStack(settings, paths, 'worker')
    const client = new SandboxdClient(paths.sandboxdSocket)
    const db = createPool(use.databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-bench' })
    const floor = startFloor(paths.environments, toRunMessage(trueRequest(envVersion)))
    try {
      return [
        ...(await measureCold(client, paths.sandboxdSocket, floor, envVersion, isQuick, progress)),
        ...(await measureWarm(client, db, floor, envVersion, isQuick, progress)),
        ...(await measureResidue(db, settings, paths, envVersion, jobs ?? (isQuick ? 60 : 400), progress)),
      ]
    } finally {
      await floor.close()
      await db.end()
      await use.release()
    }
  },
}
export default sandbox

function trueRequest(envVersion: string) {
  return sandboxRequest(envVersion, { kind: 'exec', argv: ['/bin/true'], cwd: '/workspace' }, [])
}

async function measureCold(
  client: SandboxdClient,
  socketPath: string,
  floor: Floor,
  envVersion: string,
  isQuick: boolean,
  progress: (text: string) => void,
): Promise<Figure[]> {
  progress('/bin/true: sandboxd and crun run of the same bundle in turn')
  const overhead = await inTurn(isQuick ? 15 : 80, {
    crun: () => floor.crun(),
    sandboxd: () => timed(() => runUntilRemoved(socketPath, trueRequest(envVersion))),
  })
  progress(`python3 -c pass, ${AT_ONCE} at once: sandboxes and bare interpreters in turn`)
  const runs = isQuick ? 15 : 30
  const pass = await inTurn(isQuick ? 4 : 12, {
    bare: async () => runs / (await floor.bare(runs, AT_ONCE)),
    sandbox: async () => (runs * 1000) / (await timed(() => runPassJobs(client, envVersion, runs))),
  })
  return [
    ratioFigure('overhead_ratio', overhead.sandboxd, overhead.crun, { comparison: '<=', bound: 1.25 }),
    figureOf('true_sandbox_ms', overhead.sandboxd, 'ms', {
      reference: { name: 'crun run, same bundle', value: median(overhead.crun) },
    }),
    ratioFigure('cold_pass_ratio', pass.sandbox, pass.bare, { comparison: '>=', bound: 0.65 }),
    figureOf('cold_pass_per_s', pass.sandbox, 'jobs/s', {
      reference: { name: 'python3 -c pass, same environment', value: median(pass.bare) },
    }),
  ]
}

async function runPassJobs(client: SandboxdClient, envVersion: string, runs: number): Promise<void> {
  let left = runs
  const next = async (): Promise<void> => {
    while (left-- > 0) await runToEnd(client, pythonRequest(envVersion, 'pass\n'))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, next))
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
  const run = (count: number) =>
    runJobs(db, envVersion, count, `import sys\nsys.stdout.write("x" * ${bytes})\n`, Math.ceil(bytes / 1024) + 1)
  await run(Math.max(10, Math.ceil(jobs / 10)))
  const worker = await workerPid(db)
  const before = takeStock(worker, paths.sandboxdSocket)
  await run(jobs)
  // What the last job had is removed after it was recorded.
  await sleep(1_000)
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
