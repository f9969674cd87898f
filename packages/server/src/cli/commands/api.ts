import type { Command } from 'commander'
import { prepareHome, workerUser } from '../../app/prepare-home.ts'
import { useStack } from '../../app/stack-client.ts'
import { homePaths } from '../../config/home-paths.ts'
import { loadSettings } from '../../config/load-settings.ts'
import { createLogger } from '../../platform/logger.ts'
import { onHangUp } from '../on-hang-up.ts'
import { registryFlag } from '../registry-flag.ts'

interface Options {
  listen?: string
  registry?: string
  json: boolean
}

export function addApiCommand(program: Command): void {
  program
    .command('api')
    .description('serve the HTTP API until SIGTERM, which lets requests under way end')
    .option('--listen <host:port>', 'where, instead of ERGON_API_LISTEN; port 0 is any that is free')
    .option('--registry <file>', 'the service registry, instead of ERGON_REGISTRY; SIGHUP reads it again')
    .option('--json', 'one JSON line {url} when it listens', false)
    .addHelpText(
      'after',
      '\nWith DATABASE_URL the API uses that database (give it the URL of a login in role ergon_api); else that of the running `ergon dev`. Callers need tokens: `ergon tokens create`.\n\nExample:\n  ergon api --listen 127.0.0.1:4680 --registry registry.yaml',
    )
    .action(async (options: Options) => {
      const { settings } = loadSettings(process.env, {
        ...registryFlag(options.registry),
        ...(options.listen === undefined ? {} : { apiListen: options.listen }),
      })
      const paths = homePaths(settings)
      const logger = createLogger('ergon', settings.logLevel)
      await prepareHome(paths, workerUser())
      const database = settings.databaseUrl === null ? await useStack(settings, paths, 'database') : null
      const { ApiProcess } = await import('../../app/api-process.ts')
      const api = new ApiProcess({
        settings,
        paths,
        databaseUrl: settings.databaseUrl ?? database?.apiDatabaseUrl ?? '',
        listen: settings.apiListen ?? '127.0.0.1:4680',
        logger,
      })
      const stopped = new Promise<void>((resolve) => {
        process.once('SIGINT', () => resolve())
        process.once('SIGTERM', () => resolve())
        onHangUp({ reload: () => void api.reload(), stop: resolve })
      })
      try {
        const url = await api.start()
        process.stdout.write(
          options.json
            ? `${JSON.stringify({ url })}\n`
            : `the API listens at ${url}, its documentation is at ${url}/docs\n`,
        )
        await stopped
      } finally {
        await api.stop()
        await database?.release()
      }
    })
}
