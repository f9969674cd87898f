import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Isolation, JobResult } from '@ergon/contract'
import type { HomePaths } from '../config/home-paths.ts'
import { readJob } from '../control/read-job.ts'
import type { Database } from '../platform/db/database.ts'
import { enqueueJob } from '../queue/enqueue.ts'
import { type CaseReport, judgeCase, judgeRegistry, type Refusal } from './case-report.ts'
import { composePayload, type PayloadChange } from './compose-payload.ts'
import { findHarm, type Observation, observeHost } from './host-observation.ts'
import {
  type HostileCase,
  type HostileRegistry,
  isCall,
  isRegistry,
  type ServiceCall,
  verdictOf,
} from './hostile-case.ts'

const FINAL = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT'])
const POLL_MS = 25
/** No case needs a tenth of it; a job that is retried for ever must not hold the matrix. */
const JOB_PATIENCE_MS = 60_000
/** How long the kernel may take to finish with a sandbox after its job has ended. */
const SETTLE_MS = 10_000
/** Uses whatever a good job may: output streams, a file, the store. */
const HARMLESS = 'print("fine")\nopen("/workspace/output/fine.txt", "w").write("fine")'
const HARMLESS_CHANGE = { output_spec: { formats: ['txt'] } }
/** Of cases that name none: far above what they need, and a case that hangs is seen soon. */
const LIMITS = { timeout_ms: 10_000, cpu_ms: 10_000 }

/** A running stack that nobody else uses, and how jobs in it are to be isolated. */
export interface AttackTarget {
  db: Database
  paths: HomePaths
  /** The root file system of the environment that the programs run in. */
  rootFs: string
  isolation: Isolation
  /** Reads a registry as whoever starts a worker does. */
  readRegistry(text: string): Promise<Refusal | null>
}

/** Sends hostile programs, one at a time, through a stack's queue, and looks at verdict, evidence and host after each. */
export class AttackRunner {
  readonly #target: AttackTarget
  #before: Observation | null = null

  constructor(target: AttackTarget) {
    this.#target = target
  }

  async run(hostile: HostileCase): Promise<CaseReport> {
    if (isRegistry(hostile)) return this.#runRegistry(hostile)
    this.#before ??= await this.#observeAtRest()
    const result = isCall(hostile)
      ? await this.#runCall(hostile.call)
      : await this.#runProgram(hostile.program, hostile.change ?? {})
    const harm = [
      // A service has the isolation that its type has.
      ...(isCall(hostile) ? [] : this.#findOtherIsolation(result)),
      ...(await this.#findLastingHarm(this.#before)),
      ...(await this.#findNextJobHarm()),
    ]
    // What one program did is not the next one's doing.
    if (harm.length > 0) this.#before = null
    return judgeCase(hostile, result, harm)
  }

  /** No worker is near, so there is nothing else to look at. */
  async #runRegistry(hostile: HostileRegistry): Promise<CaseReport> {
    const [startedAt, before] = [performance.now(), process.memoryUsage.rss()]
    const refusal = await this.#target.readRegistry(hostile.registry)
    return judgeRegistry(hostile, refusal, {
      ms: performance.now() - startedAt,
      bytes: process.memoryUsage.rss() - before,
    })
  }

  /** Only after a first job: a stack's first one makes what the later ones find. */
  async #observeAtRest(): Promise<Observation> {
    await this.#untilIsolatedAsAsked()
    let last = this.#observe()
    for (;;) {
      await sleep(4 * POLL_MS)
      const now = this.#observe()
      if (findHarm(last, now).length === 0 && findHarm(now, last).length === 0) return now
      last = now
    }
  }

  /** A template takes seconds to be warm; until then its jobs get containers of their own. */
  async #untilIsolatedAsAsked(): Promise<void> {
    const deadline = performance.now() + JOB_PATIENCE_MS
    while (performance.now() < deadline) {
      const result = await this.#runProgram(HARMLESS, HARMLESS_CHANGE)
      if (result?.resource_usage.isolation === this.#target.isolation) return
      await sleep(POLL_MS)
    }
  }

  /** A verdict proves nothing about an isolation that the job did not have. */
  #findOtherIsolation(result: JobResult | null): string[] {
    const isolation = result?.resource_usage.isolation ?? null
    const isAsAsked = isolation === null || isolation === this.#target.isolation
    return isAsAsked ? [] : [`isolation was ${isolation}, not ${this.#target.isolation}`]
  }

  async #findLastingHarm(before: Observation): Promise<string[]> {
    const deadline = performance.now() + SETTLE_MS
    for (;;) {
      const harm = findHarm(before, this.#observe())
      if (harm.length === 0 || performance.now() > deadline) return harm
      await sleep(POLL_MS)
    }
  }

  async #findNextJobHarm(): Promise<string[]> {
    const next = await this.#runProgram(HARMLESS, HARMLESS_CHANGE)
    if (next === null) return ['the next job did not end']
    if (next.status !== 'SUCCEEDED') return [`the next job ended as ${verdictOf(next)}: ${next.error?.message}`]
    const { outputs, logs, artifacts } = next
    const isClean = outputs.stdout === 'fine\n' && outputs.stderr === '' && logs.length === 0
    const hasFile = artifacts.length === 1 && artifacts[0]?.size_bytes === 'fine'.length
    return isClean && hasFile ? [] : [`the next job has ${JSON.stringify({ outputs, logs, artifacts })}`]
  }

  #runProgram(program: string, change: PayloadChange): Promise<JobResult | null> {
    const id = randomUUID()
    const input = composePayload(id, program, this.#target.isolation, { limits: LIMITS, ...change })
    const call = { service: 'executor', operation: 'object_execute', executionType: 'sandbox', input } as const
    return this.#runCall(call, id)
  }

  /** The job's end, or null when there was none in time. */
  async #runCall(
    { service: serviceName, operation, executionType, input }: ServiceCall,
    id: string = randomUUID(),
  ): Promise<JobResult | null> {
    const { db } = this.#target
    await enqueueJob(db, { id, serviceName, operation, executionType, inputJson: JSON.stringify(input) })
    const deadline = performance.now() + JOB_PATIENCE_MS
    while (performance.now() < deadline) {
      const result = await readJob(db, id)
      if (result !== null && FINAL.has(result.status)) return result
      await sleep(POLL_MS)
    }
    return null
  }

  #observe(): Observation {
    return observeHost(this.#target.paths, this.#target.rootFs)
  }
}
