import { readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Isolation } from '@ergon/contract'
import pg from 'pg'
import { Application } from '../application.ts'
import { databaseUrlOf, ErgonHome } from '../ergon.ts'
import { findProcesses } from '../leftovers.ts'
import { findBusy, findInit, findReadyInits, findRuntime, findSandboxd } from './process-tree.ts'
import { type HeldConnection, type HoldRule, SandboxdProxy } from './sandboxd-proxy.ts'

/** A job that stands still at one step of its life. */
export interface HeldJob {
  id: string
  handler: number
  connection: HeldConnection
  /** Lets the job go on; for what stands still by other means than the connection. */
  release(): Promise<void>
}

const MISSES = 20

/** One `ergon dev` with a proxy before its sandboxd, and jobs that are stopped where a test wants them. */
export class FaultHost {
  readonly home: ErgonHome
  #url = ''
  #application: Application | undefined
  #proxy: SandboxdProxy | undefined

  readonly #isolation: Isolation

  constructor(runtime: 'crun' | 'runc', isolation: Isolation) {
    this.#isolation = isolation
    this.home = new ErgonHome({
      ERGON_SANDBOX_RUNTIME: runtime,
      // No templates where each job is to have a container of its own: their keepers look like handlers.
      ERGON_EXECUTOR_POLICY: JSON.stringify({ limits: { max_output_kb: 8192 }, isolation }),
    })
  }

  async start(): Promise<void> {
    const { line } = await this.home.start('dev', '--sandbox-slots', '8')
    this.#url = databaseUrlOf(line)
    this.#application = new Application(await this.home.connect(this.#url), this.#isolation)
    await this.#untilIsolatedAsAsked()
    this.#proxy = new SandboxdProxy(this.home.paths.sandboxdSocket)
    await this.#proxy.start()
  }

  /** A template takes seconds to be warm; until then its jobs get containers of their own. */
  async #untilIsolatedAsAsked(): Promise<void> {
    await this.application.until(async () => {
      const { resource_usage: usage } = await this.application.runPayload({}, 'pass')
      return usage.isolation === this.#isolation
    })
  }

  get application(): Application {
    if (this.#application === undefined) throw new Error('not started')
    return this.#application
  }

  /** Inserts a job and waits until its connection stands still where the rule says. */
  async hold(program: string, rule: HoldRule): Promise<HeldJob> {
    if (this.#proxy === undefined) throw new Error('not started')
    if (this.#isolation === 'warm') {
      await this.application.until(async () => findReadyInits(findSandboxd(this.home)).length > 0)
    }
    const before = new Set(findBusy(findSandboxd(this.home)))
    const held = this.#proxy.holdNext(rule)
    const limits = { timeout_ms: 60_000, max_output_kb: 8_192 }
    const id = await this.application.insert({ limits, output_spec: { formats: ['txt'] } }, program)
    const connection = await held
    const newest = () => findBusy(findSandboxd(this.home)).find((pid) => !before.has(pid))
    // Its place may just be made, or gone already once `done` was sent, when nobody asks for it any more.
    await this.application.until(async () => newest() !== undefined || connection.seen.includes('done'))
    return { id, handler: newest() ?? 0, connection, release: async () => connection.release() }
  }

  /**
   * Stops a process that is there for milliseconds only, between `start` and `started`. Looking is a race with it, so
   * a miss is thrown away: the job that is given back certainly has not started.
   */
  async holdStarting(program: string, which: 'runtime' | 'init'): Promise<HeldJob> {
    for (let misses = 0; misses < MISSES; misses++) {
      const job = await this.hold(program, (direction, message) =>
        direction === 'request' && message['type'] === 'start' ? 'within' : null,
      )
      job.connection.release()
      const find = which === 'init' ? findInit : findRuntime
      let pid: number | null = null
      while (pid === null && !job.connection.seen.includes('started')) {
        pid = find(job.handler)
        if (pid === null) await sleep(0)
      }
      if (pid !== null) signal(pid, 'SIGSTOP')
      await sleep(300)
      const stopped = pid
      if (stopped !== null && !job.connection.seen.includes('started'))
        return { ...job, release: async () => signal(stopped, 'SIGCONT') }
      if (stopped !== null) signal(stopped, 'SIGCONT')
      await this.application.untilEnded(job.id)
    }
    throw new Error(`${MISSES} times the job had started before its ${which} could be stopped`)
  }

  /** Stops a job whose sandbox is gone while the worker writes its outcome: somebody else has the row. */
  async holdRecording(program: string): Promise<HeldJob> {
    const job = await this.hold(program, (direction, message) =>
      direction === 'answer' && message['type'] === 'done' ? 'within' : null,
    )
    const locker = new pg.Client({ connectionString: this.#url })
    await locker.connect()
    await locker.query('begin')
    await locker.query('select from jobs.tb_job_run where id = $1 for update', [job.id])
    job.connection.release()
    await this.application.until(() => this.#isSomebodyWaiting())
    const release = async () => {
      // What waits for the row gives up by itself; let go before, and a dead worker's outcome would still be written.
      await this.application.until(async () => !(await this.#isSomebodyWaiting()))
      await locker.end()
    }
    return { ...job, release }
  }

  workerPid(): number {
    return findProcesses(this.home.folder, /worker-process\.js/).at(-1)?.pid ?? 0
  }

  /** What is left in the spool besides the living worker's own, empty folder. */
  spooled(): string[] {
    const { spool } = this.home.paths
    return readdirSync(spool).flatMap((worker) =>
      worker.includes(`-${this.workerPid()}-`) ? readdirSync(`${spool}/${worker}`) : [worker],
    )
  }

  async remove(): Promise<void> {
    this.#proxy?.stop()
    await this.home.remove()
  }

  async #isSomebodyWaiting(): Promise<boolean> {
    const { rows } = await this.application.db.query(
      `select from pg_stat_activity where application_name = 'ergon-worker' and wait_event_type = 'Lock'`,
    )
    return rows.length > 0
  }
}

export function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    // It went along with another one.
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error
  }
}
