import { setTimeout as sleep } from 'node:timers/promises'
import { type ExecutorHealth, hasEnded, type JobView } from '@ergon/contract'
import { cancelOwnJob } from '../../control/change-job.ts'
import { readOwnJobView } from '../../control/read-job.ts'
import type { Database } from '../../platform/db/database.ts'
import type { TenantDatabase } from '../../platform/db/tenant-database.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { insertOwnJobs, type JobRow } from '../../queue/insert-jobs.ts'
import type { JobWatcher } from '../live/job-watcher.ts'

/** At once in one API process, waiting or running: connections, and jobs that could be waiting before one's own. */
const MOST = { open: 8, withToken: 64 } as const

const TIMES = {
  /** How long a job may wait for a worker before it is asked whether there is one, and in all. */
  doubtedMs: 1_000,
  unclaimedMs: 15_000,
  /** Above these and the job's own time: start, collection, recording, and a second attempt where the sandbox was lost. */
  graceMs: 15_000,
}

/** Five seconds, of the ten that a stopping API lets answers take. */
const STOPPING_TURN_MS = 50
const STOPPING_TURNS = 100

export interface Execution {
  row: JobRow
  /** The payload, which the row refers to. */
  source: string
  timeoutSeconds: number
  hasToken: boolean
  db: TenantDatabase
  /** Aborted once the caller has gone. */
  gone: AbortSignal
}

export interface ExecutionsOptions {
  watcher: JobWatcher
  health(): Promise<ExecutorHealth>
  onError(error: unknown): void
  times?: typeof TIMES
}

type Ending = 'ended' | 'caller gone' | 'no worker' | 'not claimed' | 'too late' | 'API stopping'

/** Runs jobs that somebody waits for with an open connection; a job whose caller does not wait any more is cancelled. */
export class Executions {
  readonly #options: ExecutionsOptions
  readonly #running = { open: 0, withToken: 0 }

  constructor(options: ExecutionsOptions) {
    this.#options = options
  }

  /** The job at its end. Throws EXECUTOR_BUSY and EXECUTOR_UNAVAILABLE, with the job cancelled. */
  async run(execution: Execution): Promise<JobView> {
    const kind = execution.hasToken ? 'withToken' : 'open'
    if (this.#running[kind] >= MOST[kind])
      throw new ErgonError('EXECUTOR_BUSY', `${MOST[kind]} executions are under way already: try again in a second`)
    this.#running[kind] += 1
    try {
      return await this.#run(execution)
    } finally {
      this.#running[kind] -= 1
    }
  }

  async #run({ row, source, db, timeoutSeconds, gone }: Execution): Promise<JobView> {
    const made = await insertOwnJobs(db, [row], source, 'j.id')
    if (made.length === 0) throw new ErgonError('JOB_EXISTS', `there is another job with the id ${row.id}`)
    const ending = await this.#wait(row.id, timeoutSeconds * 1_000, gone)
    if (ending === 'API stopping') await this.#letEnd(db, row.id, gone)
    if (ending !== 'ended') await this.#cancel(db, row.id)
    const job = await readOwnJobView(db, row.id)
    // It may have ended just before it would have been cancelled.
    if (job !== null && hasEnded(job.state) && (ending === 'ended' || job.state !== 'cancelled')) return job
    if (ending === 'no worker' || ending === 'not claimed')
      throw new ErgonError('EXECUTOR_UNAVAILABLE', `job ${row.id} was cancelled: ${await this.#whyUnclaimed(ending)}`)
    if (ending === 'API stopping')
      throw new ErgonError('EXECUTOR_UNAVAILABLE', `job ${row.id} was cancelled: this API is stopping`)
    throw new ErgonError('EXECUTION_ABANDONED', `job ${row.id} did not end as it should: ${ending}`)
  }

  /** Watches the job from its submission to its end, or until it is not worth waiting any more. */
  #wait(id: string, ownMs: number, gone: AbortSignal): Promise<Ending> {
    const { watcher, health, onError, times = TIMES } = this.#options
    return new Promise<Ending>((resolve) => {
      const over = new AbortController()
      const mostMs = times.unclaimedMs + ownMs + times.graceMs
      let pendingTimers: NodeJS.Timeout[] = []
      const end = (ending: Ending) => {
        stop()
        for (const timer of [lastTimer, ...pendingTimers]) clearTimeout(timer)
        over.abort()
        gone.removeEventListener('abort', leave)
        resolve(ending)
      }
      const leave = () => end('caller gone')
      const doubt = async () => {
        if ((await health()).status !== 'ok' && pendingTimers.length > 0) end('no worker')
      }
      const waitForClaim = () => {
        pendingTimers = [
          setTimeout(() => void doubt().catch(onError), times.doubtedMs),
          setTimeout(() => end('not claimed'), times.unclaimedMs),
        ]
      }
      const stop = watcher.watch(id, (state) => {
        if (state === null || hasEnded(state.status)) return end('ended')
        if (state.status === 'running') {
          for (const timer of pendingTimers) clearTimeout(timer)
          pendingTimers = []
          // Handed back, or tried again.
        } else if (pendingTimers.length === 0) waitForClaim()
      })
      waitForClaim()
      const lastTimer = setTimeout(() => end('too late'), mostMs)
      // Resolves before its time when nothing is watched any more.
      void watcher.untilEnded(id, 2 * mostMs, over.signal).then(() => setImmediate(end, 'API stopping'))
      if (gone.aborted) leave()
      else gone.addEventListener('abort', leave)
    })
  }

  /** What is nearly done is not thrown away because the API stops; by then nobody watches. */
  async #letEnd(db: TenantDatabase, id: string, gone: AbortSignal): Promise<void> {
    for (let turn = 0; turn < STOPPING_TURNS && !gone.aborted; turn++) {
      const job = await readOwnJobView(db, id)
      if (job === null || hasEnded(job.state)) return
      await sleep(STOPPING_TURN_MS)
    }
  }

  async #cancel(db: Database, id: string): Promise<void> {
    try {
      await cancelOwnJob(db, id, null)
    } catch (error) {
      this.#options.onError(error)
    }
  }

  async #whyUnclaimed(ending: 'no worker' | 'not claimed'): Promise<string> {
    const health = await this.#options.health()
    if (health.status === 'unavailable') return health.reason
    return ending === 'no worker' ? 'no worker took it' : 'every worker was busy until it had waited too long'
  }
}
