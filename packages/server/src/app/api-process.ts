import { readFile } from 'node:fs/promises'
import type { HomePaths } from '../config/home-paths.ts'
import type { Settings } from '../config/settings.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import type { Logger } from '../platform/logger.ts'
import { SupervisedProcess } from '../platform/process/supervised-process.ts'
import { type ApiProcessConfig, apiReadySchema, type RegistryText } from './api-process-config.ts'
import { examineFacade, facadeRulesOf } from './facade-rules.ts'
import { apiUser } from './prepare-home.ts'
import { splitAddress } from './split-address.ts'
import { unprivilegedCommand } from './unprivileged-command.ts'
import { VERSION } from './version.ts'

const READY_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 15_000

export interface ApiProcessOptions {
  settings: Settings
  paths: HomePaths
  /** Signs in as a login of the group ergon_api. */
  databaseUrl: string
  /** HOST:PORT. */
  listen: string
  /** Whether this is `ergon dev`, where the synchronous facade is on unless it is told otherwise. */
  isDev?: boolean
  logger: Logger
}

/** One API process, kept alive: the database as role ergon_api, the artifacts to read, and nothing else. */
export class ApiProcess {
  readonly #options: ApiProcessOptions
  #process: SupervisedProcess | null = null
  #registry: RegistryText | null = null
  #url = ''

  constructor(options: ApiProcessOptions) {
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Listens when this resolves; gives its address. */
  async start(): Promise<string> {
    const { settings, paths, databaseUrl, listen, isDev = false, logger } = this.#options
    const user = apiUser()
    this.#registry = await readRegistryText(settings)
    const facade = facadeRulesOf(settings, { listen, isDev })
    if (facade !== null)
      for (const { ok, detail } of examineFacade({ ...settings, apiListen: listen })) if (!ok) logger.warn(detail)
    const { host, port } = splitAddress(listen)
    const config = {
      version: VERSION,
      home: settings.home,
      environments: settings.environments,
      databaseUrl,
      host,
      facade,
      corsOrigins: settings.apiCorsOrigins,
      trustedProxies: settings.apiTrustedProxies,
      logLevel: settings.logLevel,
    } satisfies Partial<ApiProcessConfig>
    this.#process = new SupervisedProcess({
      name: 'api',
      command: () =>
        unprivilegedCommand(
          {
            entry: 'api-process.js',
            name: 'api',
            nodeFlags: NODE_FLAGS,
            env: { MALLOC_ARENA_MAX: '1' },
            // Where it found a port at first, it is found again.
            config: {
              ...config,
              port: this.#url === '' ? port : Number(new URL(this.#url).port),
              registry: this.#registry,
            },
            uid: user.uid,
            gid: user.gid,
          },
          paths,
        ),
      readyTimeoutMs: READY_TIMEOUT_MS,
      stopTimeoutMs: STOP_TIMEOUT_MS,
      logger,
      onReady: (line) => (this.#url = apiReadySchema.parse(JSON.parse(line)).url),
    })
    await this.#process.start()
    return this.#url
  }

  /** Reads the registry again; one with faults is logged, and the version before it goes on serving. */
  async reload(): Promise<void> {
    try {
      const registry = await readRegistryText(this.#options.settings)
      if (registry === null) return
      this.#registry = registry
      this.#process?.tell(JSON.stringify({ registry }))
    } catch (error) {
      this.#options.logger.error(
        { err: error },
        'the service registry was not read again; the version before it goes on serving',
      )
    }
  }

  async stop(): Promise<void> {
    await this.#process?.stop()
  }
}

// As for a worker: what requests leave lies about for milliseconds, and V8 would let it grow to hundreds of megabytes.
const NODE_FLAGS = ['--max-semi-space-size=4', '--heap-growing-percent=20', '--disable-sigusr1']

/** Checked here, so that a fault is told where somebody reads it. */
async function readRegistryText({ registry: file, profile }: Settings): Promise<RegistryText | null> {
  if (file === null) return null
  const { openRegistry } = await import('../control/registry-file.ts')
  await openRegistry({ file, profile })
  try {
    return { file, profile, text: await readFile(file, 'utf8') }
  } catch (error) {
    throw new ErgonError('REGISTRY_NOT_FOUND', `${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}
