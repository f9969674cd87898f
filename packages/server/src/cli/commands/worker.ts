import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism, hostname } from 'node:os'
import type { Command } from 'commander'
import { findSigningKey } from '../../app/find-signing-key.ts'
import { prepareHome, workerUser } from '../../app/prepare-home.ts'
import { type RegistryBundle, RegistryFeed } from '../../app/registry-feed.ts'
import { SecretRenewal } from '../../app/secret-renewal.ts'
import { defaultLanes, findMixture, needsSandboxd, typeOfLane, whyNotServed } from '../../app/served-lanes.ts'
import { type StackUse, useStack } from '../../app/stack-client.ts'
import { requireUplinkOf } from '../../app/uplink-needs.ts'
import { VERSION } from '../../app/version.ts'
import { workerCommand } from '../../app/worker-command.ts'
import { homePaths } from '../../config/home-paths.ts'
import { secretStoresOf } from '../../config/secret-stores.ts'
import type { Settings } from '../../config/settings.ts'
import { loadSettings } from '../../config/load-settings.ts'
import { executorPolicyOf } from '../../domain/profiles.ts'
import { ErgonError } from '../../platform/errors/ergon-error.ts'
import { createLogger } from '../../platform/logger.ts'
import { onBoundedLines } from '../../platform/process/bounded-lines.ts'
import { parseNumber } from '../parse-options.ts'
import { onHangUp } from '../on-hang-up.ts'
import { registryFlag } from '../registry-flag.ts'
import { addSlotOptions, type SlotOptions } from '../slot-options.ts'

const MAX_LINE_BYTES = 65_536

interface WorkerOptions extends SlotOptions {
  lanes?: string
  drain: number
  registry?: string
  json: boolean
}

export function addWorkerCommand(program: Command): void {
  const worker = program
    .command('worker')
    .description('run one worker until SIGTERM, which drains it')
    .option(
      '--lanes <list>',
      'execution types to serve, with queue names behind a colon (default: every type whose runner can work here)',
    )
    .option('--drain <seconds>', 'how long a stopping worker waits for its jobs', parseNumber('--drain', 0, 86_400), 30)
    .option('--registry <file>', 'the service registry, instead of ERGON_REGISTRY; SIGHUP reads it again')
    .option('--json', 'one JSON line when ready', false)
  addSlotOptions(worker)
    .addHelpText(
      'after',
      '\nWith DATABASE_URL the worker uses that database (give it the URL of role ergon_worker, and ERGON_CALLBACK_DATABASE_URL with role ergon_callback for callbacks); else that of the running `ergon dev`.\n\nExample:\n  ergon worker --slots 8 --sandbox-slots 2',
    )
    .action(async (options: WorkerOptions) => {
      const { settings } = loadSettings(process.env, registryFlag(options.registry), { startsWorkers: true })
      const lanes = parseLanes(options.lanes, settings)
      const access = lanes.map(typeOfLane).includes('docker')
        ? await (await import('../../app/engine-access.ts')).readEngineAccess(settings)
        : null
      const paths = homePaths(settings)
      const user = workerUser()
      const logger = createLogger('ergon', settings.logLevel)
      const registry =
        settings.registry === null
          ? null
          : new RegistryFeed({
              file: settings.registry,
              profile: settings.profile,
              env: process.env,
              executionTypes: lanes.map(typeOfLane),
              acceptedRisks: settings.acceptedRisks,
              secretStores: secretStoresOf(settings),
              logger,
              requireHost: async (bundle) => {
                if (machine !== null) await requireUplinkOf(bundle, paths.sandboxdSocket)
              },
            })
      let machine: StackUse | null = null
      await registry?.load()
      const signingKey = await findSigningKey(settings, paths)
      await prepareHome(paths, user)
      const database = settings.databaseUrl === null ? await useStack(settings, paths, 'database') : null
      const callbackUrl =
        settings.databaseUrl === null ? (database?.callbackDatabaseUrl ?? null) : settings.callbackDatabaseUrl
      machine = needsSandboxd(lanes) ? await useStack(settings, paths, 'sandboxd') : null
      try {
        // Once more, now that there is a sandboxd to ask.
        if (machine !== null) await registry?.load()
        const config = {
          name: hostname(),
          version: VERSION,
          home: settings.home,
          environments: settings.environments,
          databaseUrl: settings.databaseUrl ?? database?.workerDatabaseUrl ?? '',
          callbackDatabaseUrl: access === null ? callbackUrl : null,
          slots: options.slots ?? 32,
          sandboxSlots: options.sandboxSlots ?? availableParallelism(),
          lanes,
          warmUp: lanes.includes('sandbox'),
          drainMs: options.drain * 1_000,
          logLevel: settings.logLevel,
          sandboxRuntime: settings.sandboxRuntime,
          executorPolicy: JSON.stringify(executorPolicyOf(settings.profile, settings.executorPolicy)),
          dockerEngine: access?.engine ?? null,
          registry: registry?.current ?? null,
          signingKey,
        }
        const { command, args, env, stdin } = workerCommand(config, paths, user, access?.socketGroup ?? null)
        const child = spawn(command, args, {
          env,
          cwd: '/',
          stdio: ['pipe', 'pipe', 'inherit'],
        })
        child.stdin?.on('error', () => {}).write(stdin)
        const tell = (bundle: RegistryBundle) => child.stdin?.write(`${JSON.stringify({ registry: bundle })}\n`)
        const renewal = registry === null ? null : new SecretRenewal(registry, tell, logger)
        let isReady = false
        onBoundedLines(child.stdout, MAX_LINE_BYTES, (line) => {
          if (isReady) return renewal?.hear(line)
          isReady = true
          if (options.json) process.stdout.write(`${line}\n`)
          renewal?.start()
        })
        for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => child.kill('SIGTERM'))
        const reload = async () => {
          const bundle = await registry?.reload()
          if (bundle) tell(bundle)
        }
        onHangUp({ reload: () => void reload(), stop: () => child.kill('SIGTERM') })
        await once(child, 'exit')
        renewal?.stop()
        const { exitCode: code, signalCode: signal } = child
        if (code !== 0) throw new ErgonError('PROCESS_FAILED', `the worker ended with ${signal ?? `status ${code}`}`)
      } finally {
        await machine?.release()
        await database?.release()
      }
    })
}

function parseLanes(text: string | undefined, settings: Settings): string[] {
  if (text === undefined) return defaultLanes(settings)
  const lanes = text.split(',')
  for (const lane of lanes) {
    const reason = whyNotServed(typeOfLane(lane), settings)
    if (reason === null) continue
    throw new ErgonError(
      'USAGE',
      `--lanes: ${JSON.stringify(lane)} cannot be served: ${reason}; lanes: ${defaultLanes(settings).join(', ')}, each with an optional :queue`,
    )
  }
  const apart = findMixture(lanes)
  if (apart !== null)
    throw new ErgonError(
      'USAGE',
      `--lanes: ${apart} is served by a worker of its own: a container engine is root on its machine`,
    )
  return lanes
}
