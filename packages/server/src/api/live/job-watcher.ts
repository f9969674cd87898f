import { hasEnded, JOB_STATUSES, type JobStatus } from '@ergon/contract'
import { z } from 'zod'
import { type Database, queryRows } from '../../platform/db/database.ts'
import type { EndBell } from './end-bell.ts'

/**
 * When a job is looked at after it was asked for, or has changed, in ms: often where a call waits for its end, unless ends
 * are told of; where somebody follows it, as often as workers store output; less and less while nothing happens.
 */
const SCHEDULES_MS = {
  wait: [5, 5, 5, 5, 5, 10, 10, 10, 20, 20, 40, 80, 160, 250],
  told: [50, 100, 250],
  follow: [50, 50, 100, 100, 100, 100, 200, 200, 200, ...Array<number>(40).fill(250), 500, 500, 1_000],
} as const
/** Later looks are due at multiples of this, so that many idle jobs share a few statements a second. */
const GRID_MS = 50
/** What is due within the next few milliseconds rides along. */
const HORIZON_MS = 4
/** Jobs of one statement; those that have waited longest come first. */
const MAX_IDS = 500
/** Between statements while the database is away: the first pause and the longest. */
const AWAY_MS = 250
const MAX_AWAY_MS = 5_000

/** How closely a job is watched. */
export type Pace = 'wait' | 'follow'

/** What can be seen of a job from afar; another `version` means that there is something to read. */
export interface JobState {
  status: JobStatus
  version: string
}

type Listener = (state: JobState | null) => void

const rowSchema = z.object({ id: z.string(), status: z.enum(JOB_STATUSES), version: z.string() })

interface Watch {
  listeners: Map<Listener, Pace>
  /** Called when somebody says that the job has ended. */
  rung: Set<() => void>
  /** Undefined until it was looked at; null when the job is gone. */
  last: JobState | null | undefined
  step: number
  dueAt: number
}

/**
 * Looks at every job that somebody waits for or follows, all of them with one statement, and tells of changes. By asking
 * and not by notification, so that it costs jobs nothing, misses nothing, and works through any pooler, with any number of
 * API processes, over a restart of any part; a bell that rings only says when to ask. Who may know of a job is for the
 * caller to check.
 */
export class JobWatcher {
  readonly #db: Database
  readonly #onError: (error: unknown) => void
  readonly #bell: EndBell | null
  readonly #watches = new Map<string, Watch>()
  #timer: NodeJS.Timeout | null = null
  #armedFor = Infinity
  #failures = 0
  #pauseUntil = 0
  #isAsking = false
  #isStopped = false

  /** `db` sees the jobs of every tenant; without a bell nobody calls `ring`. */
  constructor(db: Database, onError: (error: unknown) => void, bell: EndBell | null = null) {
    this.#db = db
    this.#onError = onError
    this.#bell = bell
  }

  /** Calls with the job's state soon, and after each change; null when the job is gone. Returns what ends it. */
  watch(jobId: string, listener: Listener, pace: Pace = 'wait'): () => void {
    // As the database spells it.
    const id = jobId.toLowerCase()
    const watch = this.#watches.get(id) ?? {
      listeners: new Map(),
      rung: new Set(),
      last: undefined,
      step: 0,
      dueAt: Infinity,
    }
    watch.listeners.set(listener, pace)
    watch.step = 0
    watch.dueAt = Math.min(watch.dueAt, nextLook(watch, this.#isTold(id)))
    this.#watches.set(id, watch)
    if (pace === 'wait') this.#bell?.enter(id)
    const { last } = watch
    if (last !== undefined) queueMicrotask(() => watch.listeners.has(listener) && this.#call(listener, last))
    this.#arm(watch.dueAt)
    return () => {
      if (watch.listeners.delete(listener) && pace === 'wait') this.#bell?.leave(id)
      if (watch.listeners.size === 0 && this.#watches.get(id) === watch) this.#watches.delete(id)
    }
  }

  /** The jobs of these ids, with blanks between them, have ended, somebody says: looks at once at those still watched after that. */
  ring(ids: string): void {
    if (this.#watches.size === 0) return
    for (const id of ids.split(' ')) {
      const watch = this.#watches.get(id)
      if (watch === undefined) continue
      watch.dueAt = 0
      for (const hear of [...watch.rung]) hear()
      if (this.#watches.has(id)) this.#arm(0)
    }
  }

  /**
   * Resolves when the job has ended or is gone, when the time is over, or when the signal says so; with `orRung` also when
   * somebody says that it has ended, which the caller then looks up.
   */
  async untilEnded(id: string, timeoutMs: number, signal: AbortSignal, { orRung = false } = {}): Promise<void> {
    if (signal.aborted || this.#isStopped) return
    await new Promise<void>((resolve) => {
      const end = () => {
        stop()
        rung?.delete(end)
        this.#ends.delete(end)
        clearTimeout(timer)
        signal.removeEventListener('abort', end)
        resolve()
      }
      const timer = setTimeout(end, timeoutMs)
      const stop = this.watch(id, (state) => {
        if (state === null || hasEnded(state.status)) end()
      })
      const rung = orRung ? this.#watches.get(id.toLowerCase())?.rung : undefined
      rung?.add(end)
      signal.addEventListener('abort', end)
      this.#ends.add(end)
    })
  }
  readonly #ends = new Set<() => void>()

  get isStopped(): boolean {
    return this.#isStopped
  }

  get watchedCount(): number {
    return this.#watches.size
  }

  /** Watches nothing any more; whoever waits for a job's end does so no longer. */
  stop(): void {
    this.#isStopped = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    for (const end of [...this.#ends]) end()
    this.#watches.clear()
  }

  /** Asks at that time at the latest. */
  #arm(dueAt: number): void {
    if (this.#isStopped || this.#isAsking) return
    const at = Math.max(dueAt, this.#pauseUntil)
    if (this.#timer !== null) {
      if (at >= this.#armedFor) return
      clearTimeout(this.#timer)
    }
    if (at === Infinity) return
    this.#armedFor = at
    this.#timer = setTimeout(() => void this.#ask(), Math.max(0, at - performance.now()))
  }

  async #ask(): Promise<void> {
    this.#timer = null
    const horizon = performance.now() + HORIZON_MS
    const due = [...this.#watches].filter(([, watch]) => watch.dueAt <= horizon)
    const asked = due.length <= MAX_IDS ? due : due.toSorted(([, a], [, b]) => a.dueAt - b.dueAt).slice(0, MAX_IDS)
    if (asked.length > 0) {
      this.#isAsking = true
      // Whoever comes while the question is under way may have missed its answer, so it counts from now on.
      for (const [, watch] of asked) watch.dueAt = Infinity
      await this.#askFor(asked)
      this.#isAsking = false
    }
    let dueAt = Infinity
    for (const watch of this.#watches.values()) dueAt = Math.min(dueAt, watch.dueAt)
    this.#arm(dueAt)
  }

  async #askFor(asked: readonly (readonly [string, Watch])[]): Promise<void> {
    // Of these the end is told of if it comes after this look.
    const told = new Set(asked.map(([id]) => id).filter((id) => this.#isTold(id)))
    for (const [id] of asked) if (!told.has(id)) this.#bell?.retry(id)
    let states
    try {
      states = await this.#read(asked.map(([id]) => id))
      this.#failures = 0
    } catch (error) {
      // Nobody asks before that, for whatever job.
      this.#pauseUntil = performance.now() + Math.min(MAX_AWAY_MS, AWAY_MS * 2 ** this.#failures++)
      for (const [, watch] of asked) watch.dueAt = this.#pauseUntil
      this.#onError(error)
      return
    }
    for (const [id, watch] of asked) this.#tell(watch, states.get(id) ?? null, told.has(id))
  }

  #isTold(id: string): boolean {
    return this.#bell?.isHeld(id) === true
  }

  #tell(watch: Watch, state: JobState | null, isTold: boolean): void {
    const isChanged = watch.last === undefined || watch.last?.version !== state?.version
    watch.step = isChanged ? 0 : watch.step + 1
    watch.last = state
    watch.dueAt = Math.min(watch.dueAt, nextLook(watch, isTold))
    if (isChanged) for (const listener of [...watch.listeners.keys()]) this.#call(listener, state)
  }

  #call(listener: Listener, state: JobState | null): void {
    try {
      listener(state)
    } catch (error) {
      this.#onError(error)
    }
  }

  async #read(ids: readonly string[]): Promise<Map<string, JobState>> {
    // Chunks are only appended while a job runs, so the last offsets say whether there are new ones; the end of an index
    // is as near in the millionth chunk as in the first.
    const rows = await queryRows(
      this.#db,
      rowSchema,
      `select j.id, j.status, concat_ws('.', j.status, coalesce(j.attempts, 0), extract(epoch from j.started_at),
                                        coalesce(o.stdout, -1), coalesce(o.stderr, -1)) as version
       from jobs.tb_job_run j
       left join lateral (
         select (select c."offset" from jobs.tb_job_output c
                 where c.job_id = j.id and c.attempt = j.attempts and c.stream = 'stdout'
                 order by c."offset" desc limit 1) as stdout,
                (select c."offset" from jobs.tb_job_output c
                 where c.job_id = j.id and c.attempt = j.attempts and c.stream = 'stderr'
                 order by c."offset" desc limit 1) as stderr
       ) o on j.status = 'running'
       where j.id = any ($1::uuid[])`,
      [ids],
    )
    return new Map(rows.map(({ id, status, version }) => [id, { status, version }]))
  }
}

/** After the pace of the most impatient listener. */
function nextLook({ listeners, step }: Watch, isTold: boolean): number {
  let afterMs = Infinity
  for (const pace of new Set(listeners.values())) {
    const schedule = scheduleOf(pace, isTold)
    afterMs = Math.min(afterMs, schedule[step] ?? schedule.at(-1) ?? 0)
  }
  const at = performance.now() + afterMs
  return afterMs < 2 * GRID_MS ? at : Math.ceil(at / GRID_MS) * GRID_MS
}

function scheduleOf(pace: Pace, isTold: boolean): readonly number[] {
  return SCHEDULES_MS[pace === 'wait' && isTold ? 'told' : pace]
}
