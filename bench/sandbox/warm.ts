import { setTimeout as sleep } from 'node:timers/promises'
import type { Database } from '../../packages/server/src/platform/db/database.ts'
import type { Sandbox } from '../../packages/server/src/sandbox/sandbox.ts'
import { type Figure, figureOf, median } from '../bench.ts'
import type { Floor } from './floor.ts'
import { inTurn, percentile99, ratioFigure, timed } from './rounds.ts'
import { CPU_PERCENT, pythonRequest, runToEnd } from './sandboxes.ts'
import { runJobs } from './worker-jobs.ts'

/** Longer than sandboxd takes to have the next child ready. */
const REFILL_MS = 100
const MAX_TRIES = 20
const AT_ONCE = 2

const TELL_TIME = 'import time\nprint(time.monotonic_ns())\n'
/** What fork_floor.py draws. */
const DRAW = `import io, time
import matplotlib.pyplot
figure, axes = matplotlib.pyplot.subplots()
axes.plot([1, 2, 3])
axes.set_title("x")
began = time.perf_counter()
figure.savefig(io.BytesIO(), format="png")
print((time.perf_counter() - began) * 1e3)
`

/** Warm sandboxes beside bare forks into namespaces of a process that has imported the same libraries. */
export async function measureWarm(
  client: Sandbox,
  db: Database,
  floor: Floor,
  envVersion: string,
  isQuick: boolean,
  progress: (text: string) => void,
): Promise<Figure[]> {
  await client.warmUp({ environment: envVersion, runtime: 'crun', cpuPercent: CPU_PERCENT })
  progress('warm starts and bare forks in turn')
  const starts = await inTurn(isQuick ? 20 : 200, {
    fork: () => floor.fork(),
    warm: async () => {
      let sentNs = 0n
      const printed = await runWarm(client, envVersion, TELL_TIME, () => (sentNs = process.hrtime.bigint()))
      return Number(BigInt(printed.trim()) - sentNs) / 1e6
    },
  })
  progress('the first savefig of warm jobs and of bare forks in turn')
  const savefig = await inTurn(isQuick ? 4 : 20, {
    fork: () => floor.savefig(),
    warm: async () => Number(await runWarm(client, envVersion, DRAW)),
  })
  const jobs = isQuick ? 40 : 150
  progress(`${jobs} warm jobs through the worker and as many bare forks, ${AT_ONCE} at once, in turn`)
  const shares: number[] = []
  const rates = await inTurn(isQuick ? 2 : 5, {
    forks: async () => jobs / (await floor.forks(jobs, AT_ONCE)),
    jobs: async () => {
      const ms = await timed(async () => shares.push((await runJobs(db, envVersion, jobs, 'import numpy\n')) / jobs))
      return (jobs * 1000) / ms
    },
  })
  return [
    figureOf('warm_start_p50_ms', starts.warm, 'ms', { target: { comparison: '<=', bound: 5 } }),
    figureOf('warm_start_p99_ms', [percentile99(starts.warm)], 'ms', {
      reference: { name: 'bare fork, p99', value: percentile99(starts.fork) },
      target: { comparison: '<=', bound: 3 },
    }),
    figureOf('bare_fork_ms', starts.fork, 'ms'),
    figureOf('warm_jobs_per_s', rates.jobs, 'jobs/s', {
      reference: { name: 'bare forks, 2 at once', value: median(rates.forks) },
      target: { comparison: '>=', bound: 0.6 },
    }),
    figureOf('warm_share', shares, 'of those jobs'),
    ratioFigure('savefig_ratio', savefig.warm, savefig.fork, { comparison: '<=', bound: 0.7 }),
    figureOf('warm_savefig_ms', savefig.warm, 'ms', {
      reference: { name: 'bare fork, nothing drawn before', value: median(savefig.fork) },
    }),
  ]
}

/** Runs the program when a child is ready for it, and returns what it printed. */
async function runWarm(client: Sandbox, envVersion: string, text: string, onSend = () => {}): Promise<string> {
  for (let left = MAX_TRIES; left > 0; left--) {
    await sleep(REFILL_MS)
    const wanted = pythonRequest(envVersion, text, 'warm')
    onSend()
    const { printed, isolation } = await runToEnd(client, wanted)
    if (isolation === 'warm') return printed
  }
  throw new Error(`no sandbox was warm in ${MAX_TRIES} tries; see sandboxd's log for what became of the template`)
}
