import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { ErgonError } from '../errors/ergon-error.ts'
import type { Logger } from '../logger.ts'
import { onBoundedLines } from './bounded-lines.ts'

const MIN_RESTART_DELAY_MS = 200
const MAX_RESTART_DELAY_MS = 5_000
const MAX_LINE_BYTES = 65_536

export interface ProcessCommand {
  command: string
  args: string[]
  env: Record<string, string>
  /** Text given on standard input: the place for secrets. */
  stdin: string
  /** Leaves standard input open after it, for `tell`. */
  isTold?: boolean
}

interface SupervisedProcessOptions {
  name: string
  /** Asked for anew at each start. */
  command: () => ProcessCommand
  readyTimeoutMs: number
  /** How long SIGTERM may take before SIGKILL. */
  stopTimeoutMs: number
  logger: Logger
  /** Told the line that says so, at each start. */
  onReady?: (line: string) => void
  /** Told each line of the child's output after the one that says it is ready. */
  onLine?: (line: string) => void
}

/** A child that says {"ready":true} as its first line of output, and is started again whenever it ends unasked. */
export class SupervisedProcess {
  readonly #options: SupervisedProcessOptions
  #child: ChildProcess | null = null
  #stopping = false
  #supervision: Promise<void> | null = null

  constructor(options: SupervisedProcessOptions) {
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Resolves when the child is ready; throws PROCESS_FAILED, with what it said, when it ends or hangs before that. */
  async start(): Promise<void> {
    if (this.#supervision !== null) return
    const child = await this.#spawnReady()
    this.#supervision = this.#supervise(child)
  }

  /** Writes a line to the child's standard input, if it listens; a child that is started later is told by its command. */
  tell(line: string): void {
    if (this.#child?.stdin?.writable === true) this.#child.stdin.write(`${line}\n`)
  }

  async stop(): Promise<void> {
    this.#stopping = true
    const child = this.#child
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM')
      const killer = setTimeout(() => child.kill('SIGKILL'), this.#options.stopTimeoutMs)
      await once(child, 'exit')
      clearTimeout(killer)
    }
    await this.#supervision
  }

  async #supervise(first: ChildProcess): Promise<void> {
    let child = first
    for (let delayMs = MIN_RESTART_DELAY_MS; ; ) {
      const startedAt = performance.now()
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
      if (this.#stopping) return
      const { name, logger } = this.#options
      logger.warn(
        { process: name, exitCode: child.exitCode, signal: child.signalCode },
        'a process ended unasked and is started again',
      )
      if (performance.now() - startedAt > MAX_RESTART_DELAY_MS) delayMs = MIN_RESTART_DELAY_MS
      for (;;) {
        await sleep(delayMs)
        delayMs = Math.min(MAX_RESTART_DELAY_MS, delayMs * 2)
        if (this.#stopping) return
        try {
          child = await this.#spawnReady()
          break
        } catch (error) {
          if (this.#stopping) return
          logger.error({ err: error, process: name }, 'a process could not be started again')
        }
      }
    }
  }

  async #spawnReady(): Promise<ChildProcess> {
    const { name, readyTimeoutMs } = this.#options
    const command = this.#options.command()
    const child = spawn(command.command, command.args, { env: command.env, stdio: ['pipe', 'pipe', 'pipe'], cwd: '/' })
    this.#child = child
    let said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      said = (said + chunk.toString('utf8')).slice(-2_000)
      process.stderr.write(chunk)
    })
    child.stdin.on('error', () => {})
    child.stdin.write(command.stdin)
    if (command.isTold !== true) child.stdin.end()
    const failed = (why: string) =>
      new ErgonError('PROCESS_FAILED', `${name} ${why}${said === '' ? '' : `: ${said.trim()}`}`)
    const ready = new Promise<void>((resolve, reject) => {
      child.once('error', (error) => reject(failed(`could not be started (${error.message})`)))
      child.once('exit', (code, signal) =>
        reject(failed(`ended before it was ready (${signal ?? `exit status ${code}`})`)),
      )
      let isReady = false
      onBoundedLines(child.stdout, MAX_LINE_BYTES, (line) => {
        if (isReady) return this.#options.onLine?.(line)
        isReady = line.includes('"ready"')
        if (isReady) {
          this.#options.onReady?.(line)
          resolve()
        } else reject(failed(`said ${line.slice(0, 200)}`))
      })
    })
    const timer = setTimeout(() => child.kill('SIGKILL'), readyTimeoutMs)
    try {
      await ready
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    } finally {
      clearTimeout(timer)
    }
    return child
  }
}
