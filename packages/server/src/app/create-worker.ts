import os from 'node:os'
import { FilesystemArtifactStore } from '../artifacts/filesystem-store.ts'
import { ProcessSpool } from '../artifacts/process-spool.ts'
import { StagedFileSweep } from '../artifacts/staged-files.ts'
import { homePaths } from '../config/home-paths.ts'
import { EXECUTOR_POLICY, type SandboxPolicy, sandboxPolicySchema } from '../domain/sandbox-policy.ts'
import { AuditSealer } from '../maintenance/audit-sealer.ts'
import { createMaintenanceLoop } from '../maintenance/maintenance-loop.ts'
import { openSigningKey } from '../platform/crypto/signing-key.ts'
import { createPool } from '../platform/db/database.ts'
import { createLogger, type Logger } from '../platform/logger.ts'
import { IntervalLoop } from '../platform/process/interval-loop.ts'
import { Doorbell } from '../queue/doorbell.ts'
import { resolveDatasets } from '../queue/resolve-datasets.ts'
import { combineServices, createServices } from '../registry/create-services.ts'
import type { RegistryBundle } from '../registry/registry-bundle.ts'
import { createBuiltInServices, ReplaceableServices, type ServiceRegistry } from '../registry/service-registry.ts'
import { HttpRunner } from '../runners/http/http-runner.ts'
import { RunnerRegistry } from '../runners/runner-registry.ts'
import { createPythonAdapter } from '../runners/sandboxed/python.ts'
import { SandboxRunner } from '../runners/sandboxed/sandbox-runner.ts'
import { ShellRunner } from '../runners/shell/shell-runner.ts'
import { ServerlessRunner } from '../runners/serverless/serverless-runner.ts'
import {
  type InstalledEnvironment,
  listEnvironments,
  resolveEnvironment,
} from '../sandbox/environments/installed-environments.ts'
import { SandboxdClient } from '../sandbox/sandboxd-client.ts'
import { CallbackRunner } from '../worker/callback-runner.ts'
import { executeJob } from '../worker/execute-job.ts'
import { createOutcomeRecorder } from '../worker/outcome-recorder.ts'
import { StorageGuard } from '../worker/storage-guard.ts'
import { Worker } from '../worker/worker.ts'
import type { WorkerProcessConfig } from './worker-process-config.ts'

/** One of the store's 256 folders each time, so all in some four hours. */
const STORE_SWEEP_MS = 60_000
const ENVIRONMENT_MEMORY_MS = 5_000
/** Above what the largest result takes on a slow line; below what a drain waits for. */
const QUERY_TIMEOUT_MS = 30_000

export interface RunningWorker {
  logger: Logger
  /** Serves another version of the registry from the next claim on; one that is not valid changes nothing and is logged. */
  replaceRegistry(bundle: RegistryBundle): void
  start(): Promise<void>
  /** Drains, then closes every connection. */
  stop(): Promise<void>
}

/** Wires one worker: its database connections, runners, store, loops. `renewSecrets` asks whoever started it. */
export async function createWorker(
  config: WorkerProcessConfig,
  renewSecrets: () => void = () => {},
): Promise<RunningWorker> {
  const paths = homePaths(config)
  const logger = createLogger('ergon-worker', config.logLevel)
  const db = createPool(config.databaseUrl, {
    maxConnections: 1,
    applicationName: 'ergon-worker',
    queryTimeoutMs: QUERY_TIMEOUT_MS,
  })
  const doorbell = new Doorbell({ url: config.databaseUrl, logger })
  const store = new FilesystemArtifactStore(paths.artifacts)
  const spool = new ProcessSpool(paths.spool, {
    onError: (error) => logger.warn({ err: error }, 'the spool cannot be swept; it is tried again'),
  })
  const storageGuard = new StorageGuard(store, paths.spool)
  const staged = new StagedFileSweep(paths.artifacts)
  const storeSweep = new IntervalLoop({
    intervalMs: STORE_SWEEP_MS,
    async turn() {
      const removed = await staged.turn()
      if (removed > 0) logger.info({ removed }, 'files that were never stored to their end were removed')
    },
    onError: (error) => logger.warn({ err: error }, 'the artifact store cannot be swept; it is tried again'),
  })
  const sandbox = new SandboxdClient(paths.sandboxdSocket)

  const runners = new RunnerRegistry()
  const cpuPercent = cpuPercentPerSandbox(config.sandboxSlots)
  const findEnvironment = rememberEnvironments(paths.environments)
  const adapters = [createPythonAdapter(sandbox, config.sandboxRuntime, cpuPercent)]
  runners.register('sandbox', new SandboxRunner({ adapters, store, resolveEnvironment: findEnvironment }))
  runners.register(
    'shell',
    new ShellRunner({
      sandbox,
      runtime: config.sandboxRuntime,
      cpuPercent,
      store,
      resolveEnvironment: findEnvironment,
    }),
  )
  runners.register('http', new HttpRunner())
  runners.register('serverless', new ServerlessRunner())

  // Not imported above: the engine's libraries (gRPC and ssh among them) are 5 MB of heap that most workers have no use for.
  const docker =
    config.dockerEngine === null
      ? null
      : (await import('./create-docker.ts')).createDocker(config.dockerEngine, { db, paths, logger })
  if (docker !== null) runners.register('docker', docker.runner)

  const author = () => ({ id: worker.id, name: config.name, version: config.version })
  const recorder = createOutcomeRecorder(db, logger, author)
  const servicesOf = serviceFactory(config, runners)
  const services = new ReplaceableServices(servicesOf(config.registry))
  const callbacks =
    config.callbackDatabaseUrl === null
      ? null
      : new CallbackRunner({ db, callbackUrl: config.callbackDatabaseUrl, logger })
  const execution = { services, runners, store, storageGuard, recorder, renewSecrets, logger, random: Math.random }
  const worker = new Worker(
    { ...config, spoolFolder: spool.folder },
    {
      db,
      doorbell,
      services,
      storageGuard,
      logger,
      execute: (attempt) =>
        executeJob(attempt, {
          ...execution,
          pauseClaims: () => worker.pauseClaims(),
          resolveDatasets: async ({ job }, digests) =>
            new Set(await resolveDatasets(db, { id: job.id, fence: job.fence, digests: [...digests] })),
        }).finally(() => {
          if (attempt.job.entityType !== null) callbacks?.wake()
        }),
    },
  )
  const maintenance = createMaintenanceLoop(db, logger)
  const sealer = config.signingKey === null ? null : new AuditSealer(db, openSigningKey(config.signingKey), logger)

  /** Jobs that come before it is done get containers of their own. */
  async function warmUp(): Promise<void> {
    for (const { envVersion, language, isDefault } of await listEnvironments(paths.environments)) {
      if (language !== 'python' || !isDefault) continue
      try {
        await sandbox.warmUp({ environment: envVersion, runtime: config.sandboxRuntime, cpuPercent })
        logger.info({ environment: envVersion }, 'warm')
      } catch (error) {
        logger.warn({ err: error, environment: envVersion }, 'no template; jobs get containers of their own')
      }
    }
  }

  return {
    logger,
    replaceRegistry(bundle) {
      try {
        services.replace(servicesOf(bundle))
        logger.info(
          { registry: bundle.file, services: services.serviceNames().length },
          'the service registry was replaced',
        )
      } catch (error) {
        logger.error({ err: error }, 'the new service registry is not valid; the one before it goes on serving')
      }
    },
    async start() {
      await spool.start()
      await doorbell.start()
      await worker.start()
      maintenance.start()
      storeSweep.start()
      docker?.reaper.start()
      callbacks?.start()
      sealer?.start()
      if (callbacks === null && docker === null)
        logger.warn('there is no login of the role ergon_callback: this worker runs no callbacks')
      if (sealer === null) logger.warn('there is no signing key: this worker does not seal the audit trail')
      if (config.warmUp && policyOf(config).isolation === 'warm') void warmUp()
    },
    async stop() {
      await worker.stop(config.drainMs)
      await maintenance.stop()
      await storeSweep.stop()
      await docker?.reaper.stop()
      await callbacks?.stop()
      await sealer?.stop()
      await doorbell.stop()
      await db.end()
      await spool.stop()
    },
  }
}

function policyOf({ executorPolicy }: WorkerProcessConfig): SandboxPolicy {
  return executorPolicy === null ? EXECUTOR_POLICY : sandboxPolicySchema.parse(JSON.parse(executorPolicy))
}

/** Makes the services of a registry's version: those whose type has a runner here and a lane that this worker serves. */
function serviceFactory(
  { executorPolicy, lanes }: WorkerProcessConfig,
  runners: RunnerRegistry,
): (bundle: RegistryBundle | null) => ServiceRegistry {
  const builtIn = createBuiltInServices(executorPolicy === null ? null : JSON.parse(executorPolicy))
  const served = new Set(lanes.map((lane) => lane.split(':', 1)[0]))
  const executionTypes = runners.executionTypes().filter((type) => served.has(type))
  const checkConfig = (type: string, serviceConfig: unknown): void => void runners.prepare(type, serviceConfig)
  return (bundle) =>
    bundle === null ? builtIn : combineServices(builtIn, createServices(bundle, { executionTypes, checkConfig }))
}

/** A sandbox may use what its slot leaves it of the machine: all slots together never ask for more than there is. */
function cpuPercentPerSandbox(sandboxSlots: number): number {
  return Math.max(100, Math.floor((100 * os.availableParallelism()) / Math.max(1, sandboxSlots)))
}

/** Looks an environment up at most every few seconds: reading its lock costs more than a warm job. */
function rememberEnvironments(folder: string): (nameOrVersion: string) => Promise<InstalledEnvironment> {
  const remembered = new Map<string, { at: number; environment: InstalledEnvironment }>()
  return async (nameOrVersion) => {
    const known = remembered.get(nameOrVersion)
    if (known !== undefined && performance.now() - known.at < ENVIRONMENT_MEMORY_MS) return known.environment
    const environment = await resolveEnvironment(folder, nameOrVersion)
    remembered.set(nameOrVersion, { at: performance.now(), environment })
    return environment
  }
}
