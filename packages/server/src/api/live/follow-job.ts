import { setTimeout as sleep } from 'node:timers/promises'
import { hasEnded, type JobProgressEvent, type JobStatusEvent, toContractStatus } from '@ergon/contract'
import { readJobView } from '../../control/read-job.ts'
import { type OutputPosition, type OutputReading, readOutput } from '../../control/read-output.ts'
import type { Database } from '../../platform/db/database.ts'
import type { EventStream } from './event-stream.ts'
import { digestOf, formatJobPosition, type JobPosition } from './job-position.ts'
import type { JobWatcher } from './job-watcher.ts'
import { Latch } from './latch.ts'
import { toOutputTexts } from './output-texts.ts'
import type { Turns } from '../turns.ts'
import type { Wait, WaitBoard } from './wait-board.ts'

/** Output that is held for one client at a time. */
const PART_BYTES = 128 * 1024
const AWAY_MS = 1_000
const MAX_FAILURES = 60

export interface JobSource {
  /** As the caller's tenant sees it. */
  db: Database
  /** Whose turns its statements take. */
  tokenId: string
  watcher: JobWatcher
  waits: WaitBoard
  turns: Turns
  onError(error: unknown): void
}

/** Tells a stream all of a job behind a position, until the job's end or the stream's. */
export async function followJob(
  stream: EventStream,
  source: JobSource,
  jobId: string,
  from: JobPosition,
): Promise<void> {
  const follower = new JobFollower(stream, source, jobId, from)
  try {
    await follower.run()
  } finally {
    follower.stop()
    stream.end()
  }
}

class JobFollower {
  readonly #stream: EventStream
  readonly #source: JobSource
  readonly #jobId: string
  readonly #changed = new Latch()
  readonly #stopWatching: () => void
  #stopWaiting: (() => void) | null = null
  #position: JobPosition
  #wait: Wait | null = null

  constructor(stream: EventStream, source: JobSource, jobId: string, from: JobPosition) {
    this.#stream = stream
    this.#source = source
    this.#jobId = jobId
    this.#position = from
    this.#stopWatching = source.watcher.watch(jobId, () => this.#changed.open(), 'follow')
    stream.onClose(() => this.#changed.open())
  }

  async run(): Promise<void> {
    let failures = 0
    while (!this.#stream.isOver && failures < MAX_FAILURES) {
      try {
        if (!(await this.#step())) return
        failures = 0
      } catch (error) {
        // The stream outlives a database that is away.
        if (failures++ === 0) this.#source.onError(error)
        await sleep(AWAY_MS * (0.5 + Math.random()))
      }
    }
  }

  stop(): void {
    this.#stopWatching()
    this.#stopWaiting?.()
  }

  /** Tells what there is to tell, and waits where that was all; false when nothing can follow. */
  async #step(): Promise<boolean> {
    const { db, tokenId, turns } = this.#source
    const reading = await turns.take(tokenId, () => readOutput(db, this.#jobId, this.#position.output, PART_BYTES))
    // It was deleted: whoever comes back is told that there is no such job.
    if (reading === null) return false
    const { status } = reading
    const isOver = hasEnded(status)
    // What a run printed comes before the news that it is over.
    if (status === 'running') await this.#tellState(reading)
    const texts = toOutputTexts(reading, isOver)
    const output = outputBase(this.#position.output, reading.position)
    for (const { stream, attempt, offset, text, end } of texts) {
      output[stream] = end
      await this.#send(stream, { attempt, offset, text }, { output: { ...output } })
    }
    if (reading.isCut && texts.length > 0) return true
    if (status !== 'running') await this.#tellState(reading)
    this.#watchWait(status === 'pending')
    if (isOver) return this.#tellEnd(reading)
    await this.#changed.pass()
    return true
  }

  async #tellState(reading: OutputReading): Promise<void> {
    const status = statusOf(this.#jobId, reading)
    const digest = digestOf(status)
    // Artifacts that were told belong to the end that was told.
    if (digest !== this.#position.status) await this.#send('status', status, { status: digest, artifacts: 0 })
    const progress = progressOf(reading, this.#wait)
    if (progress === null) return
    const progressDigest = digestOf(progress)
    if (progressDigest !== this.#position.progress) await this.#send('progress', progress, { progress: progressDigest })
  }

  async #tellEnd(reading: OutputReading): Promise<boolean> {
    const { db, tokenId, turns } = this.#source
    const job = await turns.take(tokenId, () => readJobView(db, this.#jobId))
    if (job === null) return false
    const { startedAt, completedAt } = reading.job
    const isSame =
      job.state === reading.status &&
      job.attempts === reading.job.attempts &&
      job.started_at === textOf(startedAt) &&
      job.finished_at === textOf(completedAt)
    // Somebody had it tried again in between.
    if (!isSame) return true
    for (const [index, artifact] of job.artifacts.entries())
      if (index >= this.#position.artifacts) await this.#send('artifact', artifact, { artifacts: index + 1 })
    await this.#send('end', job, { isOver: true })
    return false
  }

  #watchWait(isPending: boolean): void {
    if (isPending) {
      this.#stopWaiting ??= this.#source.waits.watch(this.#jobId, (wait) => {
        if (JSON.stringify(wait) === JSON.stringify(this.#wait)) return
        this.#wait = wait
        this.#changed.open()
      })
      return
    }
    this.#stopWaiting?.()
    this.#stopWaiting = null
    this.#wait = null
  }

  async #send(type: string, data: unknown, told: Partial<JobPosition>): Promise<void> {
    const position = { ...this.#position, ...told }
    if (await this.#stream.send({ type, id: formatJobPosition(this.#jobId, position), data })) this.#position = position
  }
}

/** Where the texts of a reading begin: behind what the reader has, or at the beginning of another run. */
function outputBase(had: OutputPosition, read: OutputPosition): OutputPosition {
  const isOther = read.attempt !== had.attempt || (had.beganAt !== null && read.beganAt !== had.beganAt)
  return isOther ? { ...read, stdout: 0, stderr: 0 } : { ...had, beganAt: read.beganAt }
}

function statusOf(jobId: string, { status, job }: OutputReading): JobStatusEvent {
  return {
    job_id: jobId.toLowerCase(),
    status: toContractStatus(status, job.failureCode),
    state: status,
    attempts: job.attempts,
    max_attempts: job.maxAttempts,
    run_at: job.runAt.toISOString(),
    started_at: textOf(job.startedAt),
    finished_at: textOf(job.completedAt),
  }
}

/** Null where nothing is known. */
function progressOf({ status, job }: OutputReading, wait: Wait | null): JobProgressEvent | null {
  const { attempts: attempt, maxAttempts: max_attempts } = job
  if (status === 'running')
    return { phase: 'running', attempt, max_attempts, reason: null, gate: null, waits_until: null }
  if (status !== 'pending' || wait === null) return null
  return {
    phase: 'waiting',
    attempt,
    max_attempts,
    reason: wait.reason,
    gate: wait.gate,
    waits_until: textOf(wait.until),
  }
}

function textOf(at: Date | null): string | null {
  return at?.toISOString() ?? null
}
