import { JOB_STATUSES, type JobStatus } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../../platform/db/database.ts'

/** When a job is looked at after it was first asked for, or has changed, in ms: often while somebody may be waiting for it. */
const SCHEDULE_MS = [5, 5, 5, 5, 5, 10, 10, 10, 20, 20, 40, 80, 160] as const
const IDLE_MS = 250
const AWAY_MS = 500

/** What can be seen of a job from afar; another `version` means that there is something to read. */
export interface JobState {
  status: JobStatus
  version: string
}

const rowSchema = z.object({ id: z.string(), status: z.enum(JOB_STATUSES), version: z.string() })

interface Watch {
  listeners: Set<(state: JobState | null) => void>
  last: JobState | null
  step: number
  dueAt: number
}

/**
 * Looks at every job that somebody waits for or follows, all of them with one statement, and tells of changes. By asking
 * and not by notification, so that it costs jobs nothing, misses nothing, and works through any pooler, with any number of
 * API processes, over a restart of any part. Who may know of a job is for the caller to check.
 */
export class JobWatcher {
  readonly #db: Database
  readonly #onError: (error: unknown) => void
  readonly #watches = new Map<string, Watch>()
  #timer: NodeJS.Timeout | null = null
  #isAsking = false
  #isStopped = false

  /** `db` sees the jobs of every tenant. */
  constructor(db: Database, onError: (error: unknown) => void) {
    this.#db = db
    this.#onError = onError
  }

  /** Calls with the job's state soon, and after each change; null when the job is gone. Returns what ends it. */
  watch(id: string, listener: (state: JobState | null) => void): () => void {
    const watch = this.#watches.get(id) ?? { listeners: new Set(), last: null, step: 0, dueAt: 0 }
    watch.step = 0
    watch.dueAt = performance.now() + SCHEDULE_MS[0]
    watch.listeners.add(listener)
    this.#watches.set(id, watch)
    if (watch.last !== null) queueMicrotask(() => watch.listeners.has(listener) && listener(watch.last))
    this.#arm()
    return () => {
      watch.listeners.delete(listener)
      if (watch.listeners.size === 0 && this.#watches.get(id) === watch) this.#watches.delete(id)
    }
  }

  /** Resolves when the job has ended or is gone, when the time is over, or when the signal says so. */
  async untilEnded(id: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    await new Promise<void>((resolve) => {
      const end = () => {
        stop()
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, timeoutMs)
      const stop = this.watch(id, (state) => {
        if (state === null || (state.status !== 'pending' && state.status !== 'running')) end()
      })
      signal.addEventListener('abort', end)
    })
  }

  get watchedCount(): number {
    return this.#watches.size
  }

  stop(): void {
    this.#isStopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#watches.clear()
  }

  #arm(): void {
    if (this.#isStopped || this.#isAsking || this.#watches.size === 0) return
    let dueAt = Infinity
    for (const watch of this.#watches.values()) dueAt = Math.min(dueAt, watch.dueAt)
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = setTimeout(() => void this.#ask(), Math.max(0, dueAt - performance.now()))
  }

  async #ask(): Promise<void> {
    this.#isAsking = true
    // What is due within the next few milliseconds rides along.
    const horizon = performance.now() + 4
    const due = [...this.#watches].filter(([, watch]) => watch.dueAt <= horizon)
    try {
      const states = await this.#read(due.map(([id]) => id))
      for (const [id, watch] of due) this.#tell(watch, states.get(id) ?? null)
    } catch (error) {
      this.#onError(error)
      for (const [, watch] of due) watch.dueAt = performance.now() + AWAY_MS
    } finally {
      this.#isAsking = false
      this.#arm()
    }
  }

  #tell(watch: Watch, state: JobState | null): void {
    const isChanged = state === null || watch.last?.version !== state.version
    watch.step = isChanged ? 0 : watch.step + 1
    watch.last = state
    watch.dueAt = performance.now() + (SCHEDULE_MS[watch.step] ?? IDLE_MS)
    if (isChanged) for (const listener of [...watch.listeners]) listener(state)
  }

  async #read(ids: readonly string[]): Promise<Map<string, JobState>> {
    const rows = await queryRows(
      this.#db,
      rowSchema,
      `select j.id, j.status, concat_ws('.', j.status, j.attempts, extract(epoch from j.started_at), w.written) as version
       from jobs.tb_job_run j
       left join lateral (
         select extract(epoch from max(o.written_at)) as written from jobs.tb_job_output o
         where o.job_id = j.id and o.attempt = j.attempts and j.status = 'running'
       ) w on true
       where j.id = any ($1::uuid[])`,
      [ids],
    )
    return new Map(rows.map(({ id, status, version }) => [id, { status, version }]))
  }
}
