import { randomUUID } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { createPool, type Database } from '../packages/server/src/platform/db/database.ts'
import { migrate } from '../packages/server/src/platform/db/migrate.ts'
import { EmbeddedPostgres } from '../packages/server/src/platform/postgres/embedded-postgres.ts'
import { claimJobs } from '../packages/server/src/queue/claim.ts'
import { completeJobs } from '../packages/server/src/queue/complete.ts'
import { registerServices } from '../packages/server/src/queue/register-services.ts'
import { registerWorker } from '../packages/server/src/queue/worker-registration.ts'
import { type Benchmark, figureOf, median } from './bench.ts'

const BATCH = 50
const NO_LIMIT = {
  executionType: 'http',
  maxConcurrent: null,
  rateLimitPerMinute: null,
  maxInvocationsPerHour: null,
  maxCostPerHour: null,
}

/** Claim and record jobs that nobody runs, over one connection: what the queue alone allows, and what limits cost. */
const queue: Benchmark = {
  description: 'jobs claimed and completed a second: without limits, beside a crowd that a limit holds, under a limit',
  async run({ isQuick, jobs, progress }) {
    const count = jobs ?? (isQuick ? 500 : 2_000)
    const crowd = isQuick ? 20_000 : 200_000
    const rounds = isQuick ? 3 : 12
    return withDatabase(async (db) => {
      const free = await knowing(db, [{ service: 'free', ...NO_LIMIT }])
      const samples: Record<'alone' | 'beside' | 'limited', number[]> = { alone: [], beside: [], limited: [] }
      progress('a service without limits')
      for (let i = 0; i < rounds; i++) samples.alone.push(await perSecond(db, free, 'free', count))

      progress(`beside ${crowd} jobs that a limit holds`)
      const all = await knowing(db, [
        { service: 'free', ...NO_LIMIT },
        { service: 'held', ...NO_LIMIT, maxConcurrent: 0 },
        { service: 'limited', ...NO_LIMIT, maxConcurrent: 10_000, rateLimitPerMinute: 1_000_000 },
      ])
      for (let left = crowd; left > 0; left -= 10_000) await insert(db, 'held', Math.min(left, 10_000))
      for (let i = 0; i < rounds; i++) {
        samples.beside.push(await perSecond(db, all, 'free', count))
        samples.limited.push(await perSecond(db, all, 'limited', count))
      }
      const alone = { name: 'alone', value: median(samples.alone) }
      return [
        figureOf('queue_jobs_per_s', samples.alone, 'jobs/s'),
        figureOf('beside_held_jobs_per_s', samples.beside, 'jobs/s', {
          reference: alone,
          target: { comparison: '>=', bound: 0.9 },
        }),
        figureOf('limited_jobs_per_s', samples.limited, 'jobs/s', { reference: alone }),
      ]
    })
  },
}
export default queue

interface Claimer {
  id: string
  services: string[]
}

async function knowing(db: Database, registrations: Parameters<typeof registerServices>[2]): Promise<Claimer> {
  const id = randomUUID()
  // The lease outlasts the benchmark: nothing beats here.
  await registerWorker(db, {
    id,
    name: 'bench',
    pid: process.pid,
    lanes: ['http'],
    slots: 1_000,
    version: '0',
    leaseSeconds: 3_600,
  })
  await registerServices(db, id, registrations)
  return { id, services: registrations.map(({ service }) => service) }
}

function insert(db: Database, service: string, count: number): Promise<unknown> {
  return db.query(
    `insert into jobs.tb_job_run (identifier, service_name, operation)
     select gen_random_uuid()::text, $1, 'run' from generate_series(1, $2)`,
    [service, count],
  )
}

/** The inserting is not measured. */
async function perSecond(db: Database, { id, services }: Claimer, service: string, count: number): Promise<number> {
  await insert(db, service, count)
  const startedMs = performance.now()
  for (let done = 0; done < count; ) {
    const jobs = await claimJobs(db, { workerId: id, lanes: [{ lane: 'http', slots: BATCH }], services })
    if (jobs.length === 0) throw new Error(`${count - done} jobs of ${service} cannot be claimed`)
    const result = {
      outputJson: '{}',
      resourceUsage: null,
      envVersion: null,
      logs: null,
      stdout: null,
      stderr: null,
      artifacts: [],
    }
    await completeJobs(
      db,
      jobs.map((job) => ({ id: job.id, fence: job.fence, ...result })),
    )
    done += jobs.length
  }
  return (count * 1_000) / (performance.now() - startedMs)
}

async function withDatabase<Result>(work: (db: Database) => Promise<Result>): Promise<Result> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ergon-bench-'))
  // The server's user must pass through.
  await chmod(folder, 0o711)
  const server = new EmbeddedPostgres({
    home: path.join(folder, 'home'),
    cache: path.join(folder, 'cache'),
    osUser: 'ergon-postgres',
    port: null,
    logger: console,
  })
  try {
    const db = createPool(await server.start(), { maxConnections: 1, applicationName: 'ergon-bench' })
    await migrate(db)
    const result = await work(db)
    await db.end()
    return result
  } finally {
    await server.stop()
    await rm(folder, { recursive: true, force: true })
  }
}
