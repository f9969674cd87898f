import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { machine, tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Isolation } from '@ergon/contract'
import { homePaths } from '../config/home-paths.ts'
import type { Settings } from '../config/settings.ts'
import { composeAttackRegistry } from '../conformance/attack-registry.ts'
import { AttackRunner } from '../conformance/attack-runner.ts'
import type { CaseReport } from '../conformance/case-report.ts'
import type { HostileCase } from '../conformance/hostile-case.ts'
import { findLeaves, findMounts, findProcesses, instanceOf } from '../conformance/leftovers.ts'
import type { MatrixHost } from '../conformance/matrix-report.ts'
import { RedirectingServer } from '../conformance/redirecting-server.ts'
import { createPool, type DatabasePool } from '../platform/db/database.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { resolveEnvironment } from '../sandbox/environments/installed-environments.ts'
import { probeIsolation } from './probe-isolation.ts'
import { AttackBait } from './attack-bait.ts'
import { refusalOf } from './registry-refusal.ts'
import { type StackUse, useStack } from './stack-client.ts'

const ENVIRONMENT = 'python-sci'
const END_PATIENCE_MS = 10_000

export interface AttackMatrixOptions {
  settings: Settings
  runtime: Settings['sandboxRuntime']
  isolation: Isolation
}

interface RunningMatrix {
  host: MatrixHost
  settings: Settings
  use: StackUse
  db: DatabasePool
  runner: AttackRunner
}

/**
 * A stack of its own for hostile programs: database, sandboxd and worker in a data folder that is removed at the end, so
 * that nobody else's jobs are near and everything that is left is the programs' doing.
 */
export class AttackMatrix {
  readonly #options: AttackMatrixOptions
  readonly #redirecting = new RedirectingServer()
  readonly #bait: AttackBait
  #running: RunningMatrix | null = null

  constructor(options: AttackMatrixOptions) {
    this.#options = options
    this.#bait = new AttackBait(options.settings)
  }

  /** Throws HOST_CANNOT_ISOLATE or ENVIRONMENT_NOT_FOUND when there is nothing to try the programs on. */
  async start(): Promise<MatrixHost> {
    const { runtime, isolation } = this.#options
    const probe = await probeIsolation(this.#options.settings)
    const version = probe.runtimes.find(({ name }) => name === runtime)?.version
    if (probe.missing.length > 0 || version === undefined) {
      const missing = probe.missing[0]?.detail ?? `the runtime ${runtime} is not installed`
      throw new ErgonError('HOST_CANNOT_ISOLATE', `no sandbox can be made here: ${missing}. \`ergon doctor\` says more`)
    }
    const environment = await resolveEnvironment(this.#options.settings.environments, ENVIRONMENT)
    const host = {
      kernel: probe.kernel,
      architecture: machine(),
      cgroup: `${probe.cgroup.layout} (${probe.cgroup.controllers.join(', ')})`,
      runtime: `${runtime} ${version}`,
      environment: environment.envVersion,
      isolation,
    }
    const home = await mkdtemp(path.join(tmpdir(), 'ergon-attack-'))
    // Its database, its worker and its sandboxes are other users, who have to pass through.
    await chmod(home, 0o711)
    try {
      this.#running = await this.#startStack(home, host, environment.rootFs)
    } catch (error) {
      await this.#redirecting.stop()
      await this.#bait.remove()
      await rm(home, { recursive: true, force: true })
      throw error
    }
    return host
  }

  async #startStack(home: string, host: MatrixHost, rootFs: string): Promise<RunningMatrix> {
    const { settings: own, runtime, isolation } = this.#options
    // The profile of development is the one that may use an embedded database; isolation is the same in all.
    const registry = path.join(home, 'hostile.yaml')
    await writeFile(registry, composeAttackRegistry(await this.#redirecting.start(), await this.#bait.lay(home)), {
      mode: 0o600,
    })
    const settings: Settings = {
      ...own,
      profile: 'development',
      home,
      databaseUrl: null,
      sandboxRuntime: runtime,
      registry,
    }
    const paths = homePaths(settings)
    const readRegistry = (text: string) => refusalOf(text, path.join(home, 'refused.yaml'))
    const use = await useStack(settings, paths, 'worker')
    const db = createPool(use.databaseUrl ?? '', { maxConnections: 1, applicationName: 'ergon-attack-matrix' })
    return { host, settings, use, db, runner: new AttackRunner({ db, paths, rootFs, isolation, readRegistry }) }
  }

  run(hostile: HostileCase): Promise<CaseReport> {
    if (this.#running === null) throw new Error('the attack matrix is not started')
    return this.#running.runner.run(hostile)
  }

  /** Ends the stack, removes its folder and tells what was left of it nevertheless. */
  async stop(): Promise<string[]> {
    if (this.#running === null) return []
    const { settings, use, db } = this.#running
    this.#running = null
    const instance = instanceOf(homePaths(settings).run)
    await db.end()
    await use.release()
    await this.#redirecting.stop()
    await this.#bait.remove()
    const left = await leftAfter(() => findLeft(settings.home, instance))
    await rm(settings.home, { recursive: true, force: true })
    return left
  }
}

function findLeft(home: string, instance: string | null): string[] {
  return [
    ...findProcesses(home).map(({ pid, command }) => `process ${pid}: ${command}`),
    ...findMounts([home]).map((line) => `mount ${line}`),
    ...(instance === null ? [] : findLeaves(instance)).map((leaf) => `cgroup ${leaf}`),
  ]
}

/** The kernel takes its moment after the last process has ended. */
async function leftAfter(find: () => string[]): Promise<string[]> {
  const deadline = performance.now() + END_PATIENCE_MS
  for (;;) {
    const left = find()
    if (left.length === 0 || performance.now() > deadline) return left
    await sleep(50)
  }
}
