import { randomUUID } from 'node:crypto'
import { ensureSigningKey } from '../packages/server/src/app/find-signing-key.ts'
import { useStack } from '../packages/server/src/app/stack-client.ts'
import { homePaths } from '../packages/server/src/config/home-paths.ts'
import { loadSettings } from '../packages/server/src/config/load-settings.ts'
import { openSigningKey } from '../packages/server/src/platform/crypto/signing-key.ts'
import { createPool, type DatabasePool } from '../packages/server/src/platform/db/database.ts'
import { claimJobs } from '../packages/server/src/queue/claim.ts'
import { completeJob } from '../packages/server/src/queue/complete.ts'
import { sealAudit } from '../packages/server/src/queue/seal-audit.ts'
import type { ClaimedJob } from '../packages/server/src/queue/types.ts'
import { deregisterWorker, registerWorker } from '../packages/server/src/queue/worker-registration.ts'
import { createBuiltInServices } from '../packages/server/src/registry/service-registry.ts'
import { Attempt } from '../packages/server/src/worker/attempt.ts'
import { composeAuditEntry } from '../packages/server/src/worker/audit-entry.ts'
import { type Benchmark, figureOf, median } from './bench.ts'

/** A lane that no worker serves. */
const LANE = 'http:audit-bench'
const SERVICE = 'audit-bench'
const PER_ROUND = 50
const OUTPUT = JSON.stringify({ status: 'completed', stdout: 'x'.repeat(500) })

/** What the audit trail adds to the recording of a success, and how fast it is sealed. */
const audit: Benchmark = {
  description: 'the recording of a success with its audit entry, against the same without; sealing',
  async run({ isQuick, progress }) {
    const { settings } = loadSettings(process.env)
    const paths = homePaths(settings)
    const use = await useStack(settings, paths, 'database')
    const db = createPool(use.databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-bench' })
    try {
      const rounds = isQuick ? 4 : 40
      progress(`${rounds} rounds of ${PER_ROUND} completions without and with an entry, in turn`)
      const samples = await measureCompletions(db, rounds)
      progress('sealing what they left')
      const pem = await ensureSigningKey(settings, paths)
      if (pem === null) throw new Error('there is no signing key')
      const without = { name: 'complete_ms', value: median(samples.without) }
      return [
        figureOf('complete_ms', samples.without, 'ms'),
        figureOf('complete_audited_ms', samples.audited, 'ms', { reference: without }),
        figureOf('compose_us', samples.composeUs, 'µs'),
        figureOf('entry_bytes', samples.entryBytes, 'bytes'),
        figureOf('seal_us_per_entry', await measureSealing(db, pem), 'µs'),
      ]
    } finally {
      await db.end()
      await use.release()
    }
  },
}
export default audit

async function measureCompletions(db: DatabasePool, rounds: number) {
  const samples = {
    without: [] as number[],
    audited: [] as number[],
    composeUs: [] as number[],
    entryBytes: [] as number[],
  }
  const workerId = randomUUID()
  await registerWorker(db, {
    id: workerId,
    name: 'bench',
    pid: process.pid,
    lanes: [LANE],
    slots: 1_000,
    version: '0',
    leaseSeconds: 3_600,
  })
  const services = createBuiltInServices(null)
  for (let round = -1; round < rounds; round++) {
    const jobs = await claimNew(db, workerId)
    const record = {
      outputJson: OUTPUT,
      resourceUsage: { cpu_ms: 5 },
      envVersion: 'python-sci@1',
      logs: [],
      stdout: 'x',
      stderr: '',
      artifacts: [],
    }
    let composeMs = 0
    let bytes = 0
    const withoutMs = await timed(
      jobs.slice(0, PER_ROUND),
      async ({ id, fence }) => void (await completeJob(db, { id, fence, ...record })),
    )
    const auditedMs = await timed(jobs.slice(PER_ROUND), async (job) => {
      const startedMs = performance.now()
      const attempt = new Attempt(job, '/nowhere', () => Promise.resolve(true))
      attempt.resolved = services.resolve('executor', 'object_execute')
      const result = { ...record, audit: { isolation: 'warm', limits: { memory_bytes: 536_870_912, cpu_ms: 30_000 } } }
      const author = { id: workerId, name: 'bench', version: '0' }
      const ending = { failure: null, result: { ...result, resourceUsage: null } }
      const auditEntry = composeAuditEntry('ended', attempt, author, ending)
      composeMs += performance.now() - startedMs
      bytes += Buffer.byteLength(auditEntry)
      await completeJob(db, { id: job.id, fence: job.fence, ...record, auditEntry })
    })
    // The first round warms plans and compilers up.
    if (round < 0) continue
    samples.without.push(withoutMs)
    samples.audited.push(auditedMs)
    samples.composeUs.push((composeMs * 1_000) / PER_ROUND)
    samples.entryBytes.push(bytes / PER_ROUND)
  }
  await deregisterWorker(db, workerId)
  return samples
}

/** Milliseconds for each. */
async function timed(jobs: readonly ClaimedJob[], work: (job: ClaimedJob) => Promise<void>): Promise<number> {
  const startedMs = performance.now()
  for (const job of jobs) await work(job)
  return (performance.now() - startedMs) / jobs.length
}

async function claimNew(db: DatabasePool, workerId: string): Promise<ClaimedJob[]> {
  await db.query(
    `insert into jobs.tb_job_run (identifier, service_name, operation, execution_type, queue, input_data)
     select gen_random_uuid()::text, $1, 'run', 'http', 'audit-bench', '{"a": 1}' from generate_series(1, $2)`,
    [SERVICE, 2 * PER_ROUND],
  )
  const jobs = await claimJobs(db, { workerId, lanes: [{ lane: LANE, slots: 2 * PER_ROUND }], services: [SERVICE] })
  if (jobs.length !== 2 * PER_ROUND) throw new Error(`${jobs.length} of ${2 * PER_ROUND} jobs were claimed`)
  return jobs
}

async function measureSealing(db: DatabasePool, pem: string): Promise<number[]> {
  const key = openSigningKey(pem)
  const samples: number[] = []
  for (;;) {
    const startedMs = performance.now()
    const seal = await sealAudit(db, key, new Date(), () => true)
    if (seal === null) return samples
    samples.push(((performance.now() - startedMs) * 1_000) / seal.entryCount)
  }
}
