import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import path from 'node:path'
import { promisify } from 'node:util'
import { setTimeout as sleep } from 'node:timers/promises'
import { submitPayload } from '../packages/server/src/control/submit-job.ts'
import { useStack } from '../packages/server/src/app/stack-client.ts'
import { homePaths } from '../packages/server/src/config/home-paths.ts'
import { loadSettings } from '../packages/server/src/config/load-settings.ts'
import { createPool, type Database } from '../packages/server/src/platform/db/database.ts'
import { resolveEnvironment } from '../packages/server/src/sandbox/environments/installed-environments.ts'
import { type Benchmark, figureOf, median } from './bench.ts'
import { residentMb, sandboxdProcesses } from './processes.ts'

const ENVIRONMENT = 'python-sci'
const WARM_UPS = 3

/** One Python job that does nothing, from the claim to the recorded verdict, beside what the machine can do at best. */
const spine: Benchmark = {
  description: 'a Python job that does nothing, from claim to verdict, against fork+exec and crun run /bin/true',
  async run({ isQuick, progress }) {
    const { settings } = loadSettings(process.env)
    const paths = homePaths(settings)
    const environment = await resolveEnvironment(paths.environments, ENVIRONMENT)
    const rounds = isQuick ? 10 : 60

    progress('fork+exec and crun run /bin/true in turn')
    const floor = await measureFloor(environment.rootFs, rounds)
    const forkExec = { name: 'fork+exec /bin/true', value: median(floor.fork_exec) }
    const crun = { name: 'crun run /bin/true', value: median(floor.crun) }

    progress('Ergon: jobs one after the other')
    const use = await useStack(settings, paths, 'worker')
    const db = createPool(use.databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-bench' })
    try {
      const samples: { claimToVerdictMs: number; insertToVerdictMs: number }[] = []
      for (let i = 0; i < WARM_UPS + rounds; i++) {
        const sample = await runPassJob(db, environment.envVersion)
        if (i >= WARM_UPS) samples.push(sample)
      }
      const rss = await readRss(db, paths.sandboxdSocket)
      return [
        figureOf('fork_exec_ms', floor.fork_exec, 'ms'),
        figureOf('crun_true_ms', floor.crun, 'ms', { reference: forkExec }),
        figureOf(
          'claim_to_verdict_ms',
          samples.map((each) => each.claimToVerdictMs),
          'ms',
          { reference: crun },
        ),
        figureOf(
          'insert_to_verdict_ms',
          samples.map((each) => each.insertToVerdictMs),
          'ms',
          { reference: crun },
        ),
        figureOf('worker_rss_mb', [rss.workerMb], 'MB', { target: { comparison: '<=', bound: 128 } }),
        figureOf('sandboxd_rss_mb', [rss.sandboxdMb], 'MB', { target: { comparison: '<=', bound: 30 } }),
      ]
    } finally {
      await db.end()
      await use.release()
    }
  },
}
export default spine

interface Floor {
  fork_exec: number[]
  crun: number[]
}

async function measureFloor(rootFs: string, rounds: number): Promise<Floor> {
  const script = path.join(import.meta.dirname, 'spine_floor.py')
  const { stdout } = await promisify(execFile)('unshare', [
    '--mount',
    '--propagation',
    'private',
    '--',
    '/usr/bin/python3',
    script,
    rootFs,
    String(rounds),
  ])
  return JSON.parse(stdout) as Floor
}

/** By the database's clock: the claim writes started_at, the verdict completed_at. */
async function runPassJob(
  db: Database,
  envVersion: string,
): Promise<{ claimToVerdictMs: number; insertToVerdictMs: number }> {
  const id = await submitPayload(db, {
    schema_version: '1.0',
    job_id: randomUUID(),
    job_type: 'object_execute',
    environment: { language: 'python', env_version: envVersion },
    inputs: { object: { type: 'code', content: { format: 'text', value: 'pass\n' }, runtime: { language: 'python' } } },
  })
  for (;;) {
    const { rows } = await db.query(
      `select status, extract(epoch from completed_at - started_at) * 1000 as claim_ms, extract(epoch from completed_at - created_at) * 1000 as insert_ms
       from jobs.tb_job_run where id = $1 and completed_at is not null`,
      [id],
    )
    const row = rows[0] as { status: string; claim_ms: string; insert_ms: string } | undefined
    if (row?.status === 'completed')
      return { claimToVerdictMs: Number(row.claim_ms), insertToVerdictMs: Number(row.insert_ms) }
    if (row !== undefined) throw new Error(`job ${id} ended as ${row.status}`)
    await sleep(2)
  }
}

async function readRss(db: Database, sandboxdSocket: string): Promise<{ workerMb: number; sandboxdMb: number }> {
  const { rows } = await db.query('select pid from jobs.tb_job_worker order by heartbeat_at desc limit 1')
  const worker = (rows[0] as { pid: number } | undefined)?.pid ?? 0
  return { workerMb: residentMb(worker), sandboxdMb: Math.max(...sandboxdProcesses(sandboxdSocket).map(residentMb)) }
}
