import { createInterface } from 'node:readline'
import { apiMessageSchema, apiProcessConfigSchema } from '../app/api-process-config.ts'
import { createApi } from '../app/create-api.ts'

/** The API process: configuration on standard input, new versions of the registry after it, a line each; one line of JSON when it listens, ends on SIGTERM. */
async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const first = await lines.next()
  const config = apiProcessConfigSchema.parse(JSON.parse(first.done === true ? '' : first.value))
  // A parent that was killed before the kernel was asked to tell us of its death takes nobody along.
  if (process.ppid !== config.parentPid) throw new Error('the process that started this API is gone')
  process.on('SIGHUP', () => {})
  const api = await createApi(config)
  const listen = async () => {
    for await (const line of lines) api.replaceRegistry(apiMessageSchema.parse(JSON.parse(line)).registry)
  }
  listen().catch((error: unknown) => api.logger.error({ err: error }, 'standard input is not understood any more'))
  const url = await api.start()
  process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid, url })}\n`)
  const stop = () => void api.stop().then(() => process.exit(0))
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(3)
})
