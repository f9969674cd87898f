import { LocalStack } from '../app/local-stack.ts'
import { StackServer } from '../app/stack-server.ts'
import { homePaths } from '../config/home-paths.ts'
import { loadSettings } from '../config/load-settings.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { createLogger } from '../platform/logger.ts'

/** How long the stack of an ad-hoc command may wait for its first user. */
const FIRST_USER_MS = 20_000

/** A stack that lives as long as some command uses it: the first line says ready or why not. */
async function main(): Promise<void> {
  const { settings } = loadSettings(process.env)
  const paths = homePaths(settings)
  const logger = createLogger('ergon-stack', settings.logLevel)
  const stack = new LocalStack({ settings, paths, logger, env: process.env })
  await stack.prepare()
  let stopping = false
  const stop = async () => {
    if (stopping) return
    stopping = true
    await server.stop(() => stack.stop())
    process.exit(0)
  }
  const server = new StackServer(stack, paths, () => void stop())
  await server.start()
  // From its first user on, a stack ends with its last one.
  setTimeout(() => {
    if (!server.isInUse) void stop()
  }, FIRST_USER_MS)
  process.on('SIGTERM', () => void stop())
  process.on('SIGINT', () => void stop())
  process.on('SIGHUP', () => void stack.reloadRegistry())
  process.stdout.write('{"ready":true}\n')
}

main().catch((error: unknown) => {
  const code = error instanceof ErgonError ? error.code : 'INTERNAL'
  const message = error instanceof Error ? error.message : String(error)
  process.stdout.write(`${JSON.stringify({ error: { code, message } })}\n`, () => process.exit(3))
})
