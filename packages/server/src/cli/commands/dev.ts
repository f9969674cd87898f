import path from 'node:path'
import type { Command } from 'commander'
import type { ApiProcess } from '../../app/api-process.ts'
import { splitAddress } from '../../app/split-address.ts'
import { homePaths } from '../../config/home-paths.ts'
import { loadSettings } from '../../config/load-settings.ts'
import { createLogger } from '../../platform/logger.ts'
import { isFree } from '../../platform/process/free-port.ts'
import { parseNumber } from '../parse-options.ts'
import { onHangUp } from '../on-hang-up.ts'
import { registryFlag } from '../registry-flag.ts'
import { addSlotOptions, type SlotOptions } from '../slot-options.ts'

interface DevOptions extends SlotOptions {
  port?: number
  data?: string
  registry?: string
  json: boolean
}

export function addDevCommand(program: Command): void {
  const dev = program
    .command('dev')
    .description('run database, sandboxd, worker and API until Ctrl-C; other commands of the same ERGON_HOME use them')
    .option('--port <n>', 'also listen for PostgreSQL on 127.0.0.1:<n>', parseNumber('--port', 1, 65_535))
    .option('--data <folder>', 'data folder, instead of ERGON_HOME')
    .option('--registry <file>', 'the service registry, instead of ERGON_REGISTRY; SIGHUP reads it again')
    .option('--json', 'one JSON line {databaseUrl, apiUrl} when ready', false)
  addSlotOptions(dev)
    .addHelpText('after', '\nExamples:\n  ergon dev\n  ergon dev --port 54320 --data /srv/ergon')
    .action(async (options: DevOptions) => {
      const flags = {
        ...(options.data === undefined ? {} : { home: path.resolve(options.data) }),
        ...registryFlag(options.registry),
      }
      const { settings, sources } = loadSettings(process.env, flags, { startsWorkers: true })
      const paths = homePaths(settings)
      const logger = createLogger('ergon', settings.logLevel)
      const { LocalStack } = await import('../../app/local-stack.ts')
      const stack = new LocalStack({ settings, paths, logger, env: process.env, warmUp: true, ...options })
      await stack.prepare()
      const { StackServer } = await import('../../app/stack-server.ts')
      const server = new StackServer(stack, paths, null)
      await server.start()
      let api: ApiProcess | null = null
      const reload = () => {
        void stack.reloadRegistry()
        void api?.reload()
      }
      const stopped = new Promise<void>((resolve) => {
        process.once('SIGINT', () => resolve())
        process.once('SIGTERM', () => resolve())
        onHangUp({ reload, stop: resolve })
      })
      try {
        const { databaseUrl, apiDatabaseUrl } = await stack.ensure('worker')
        if (settings.apiListen !== null && apiDatabaseUrl !== null) {
          const listen = await chooseAddress(settings.apiListen, sources.apiListen === 'default')
          const { ApiProcess } = await import('../../app/api-process.ts')
          api = new ApiProcess({ settings, paths, logger, databaseUrl: apiDatabaseUrl, listen, isDev: true })
        }
        const apiUrl = (await api?.start()) ?? null
        process.stdout.write(
          options.json ? `${JSON.stringify({ databaseUrl, apiUrl })}\n` : describe(settings.home, databaseUrl, apiUrl),
        )
        await stopped
        if (!options.json) process.stderr.write('stopping: the worker drains first\n')
      } finally {
        await api?.stop()
        await server.stop(() => stack.stop())
      }
    })
}

/** The default port may be another stack's; one that somebody asked for is taken or the start fails. */
async function chooseAddress(listen: string, isDefault: boolean): Promise<string> {
  if (!isDefault) return listen
  const { host, port } = splitAddress(listen)
  return (await isFree(host, port)) ? listen : `${host}:0`
}

function describe(home: string, databaseUrl: string | null, apiUrl: string | null): string {
  return [
    `ergon is running, data in ${home}`,
    `  psql '${databaseUrl}'`,
    ...(apiUrl === null ? [] : [`  ${apiUrl}/docs describes the API; \`ergon tokens create\` makes a token for it`]),
    '  ergon run FILE, ergon jobs list, … in another terminal use it; Ctrl-C ends it',
    '',
  ].join('\n')
}
