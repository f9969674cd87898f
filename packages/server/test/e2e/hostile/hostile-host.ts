import { readFileSync, statSync } from 'node:fs'
import { hostname } from 'node:os'
import path from 'node:path'
import { expect } from 'vitest'
import type { SandboxRuntime } from '../../../src/sandbox/sandbox.ts'
import { Application } from '../application.ts'
import { databaseUrlOf, ErgonHome } from '../ergon.ts'
import { findProcesses } from '../leftovers.ts'
import { type HostileCase, verdictOf } from './hostile-case.ts'

const WORKER_MEMORY_LIMIT_KB = 256 * 1024

/** One running `ergon dev` that hostile programs are sent to by ordinary INSERTs. */
export class HostileHost {
  readonly #home: ErgonHome
  readonly #facts: unknown
  #application: Application | undefined
  #worker = 0

  constructor(runtime: SandboxRuntime) {
    this.#home = new ErgonHome({ ERGON_SANDBOX_RUNTIME: runtime })
    this.#facts = hostFacts(this.#home)
  }

  async start(): Promise<void> {
    const { line } = await this.#home.start('dev')
    this.#application = new Application(await this.#home.connect(databaseUrlOf(line)))
    this.#worker = this.#findWorker()
  }

  /** Sends the program; of a verdict that is owed also looks at the evidence and at what else the case asks. */
  async judge({ program, change = {}, verdicts, counter, check }: HostileCase): Promise<string> {
    const result = await this.#run(program, change)
    const verdict = verdictOf(result)
    if (!verdicts.includes(verdict)) return `${verdict}: ${JSON.stringify(result)}`
    if (result.error !== undefined) expect(result.error.evidence?.counter ?? null).toBe(counter)
    check?.(result)
    return verdict
  }

  /** No sandbox is left, the worker is the same one and small, the host as it was, and the next job is fine. */
  async expectUnharmed(): Promise<void> {
    await this.#app.untilNoSandbox(this.#home)
    expect(this.#findWorker()).toBe(this.#worker)
    expect(readMemoryKb(this.#worker)).toBeLessThan(WORKER_MEMORY_LIMIT_KB)
    expect(hostFacts(this.#home)).toEqual(this.#facts)
    const next = await this.#run('print("fine")', {})
    expect(next, JSON.stringify(next)).toMatchObject({ status: 'SUCCEEDED', outputs: { stdout: 'fine\n' }, logs: [] })
  }

  async remove(): Promise<void> {
    await this.#home.remove()
  }

  async #run(program: string, change: Parameters<Application['runPayload']>[0]) {
    return this.#app.runPayload(change, program)
  }

  get #app(): Application {
    if (this.#application === undefined) throw new Error('not started')
    return this.#application
  }

  #findWorker(): number {
    const found = findProcesses(this.#home.folder, /worker-process\.js/)
    return found.at(-1)?.pid ?? 0
  }
}

/** What no program may change: names, kernel settings, mounts, password files, the shared environment. */
function hostFacts(home: ErgonHome): unknown {
  const environments = home.paths.environments
  const rootfs = path.join(
    environments,
    readFileSync(path.join(environments, 'python-sci.default'), 'utf8').trim(),
    'rootfs',
  )
  const watched = ['', 'tmp', 'workspace', 'etc', 'usr/bin', 'usr/bin/python3', 'usr/lib/python3/dist-packages/numpy']
  const files = ['/etc/passwd', '/etc/shadow', '/dev/null', ...watched.map((name) => path.join(rootfs, name))]
  return {
    hostname: hostname(),
    corePattern: readFileSync('/proc/sys/kernel/core_pattern', 'utf8'),
    mounts: readFileSync('/proc/self/mounts', 'utf8').match(/.*(?:ergon|workspace|rootfs).*/g),
    files: files.map((file) => {
      const { mode, uid, gid, size, mtimeMs } = statSync(file)
      return file === '/dev/null' ? [file, mode, uid, gid] : [file, mode, uid, gid, size, mtimeMs]
    }),
  }
}

function readMemoryKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? Number.NaN)
}
