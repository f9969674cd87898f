import { createInterface } from 'node:readline'
import { createWorker } from '../app/create-worker.ts'
import { SECRET_REFUSED_LINE } from '../app/secret-renewal.ts'
import { workerMessageSchema, workerProcessConfigSchema } from '../app/worker-process-config.ts'

/** The worker process: configuration on standard input, new versions of the registry after it, a line each; one line of JSON when ready, drains on SIGTERM. */
async function main(): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
  const first = await lines.next()
  const config = workerProcessConfigSchema.parse(JSON.parse(first.done === true ? '' : first.value))
  // A parent that was killed before the kernel was asked to tell us of its death takes nobody along.
  if (process.ppid !== config.parentPid) throw new Error('the process that started this worker is gone')
  // The process that started this one answers a hang-up, for both.
  process.on('SIGHUP', () => {})
  const worker = await createWorker(config, () => void process.stdout.write(`${SECRET_REFUSED_LINE}\n`))
  const listen = async () => {
    for await (const line of lines) worker.replaceRegistry(workerMessageSchema.parse(JSON.parse(line)).registry)
  }
  listen().catch((error: unknown) => worker.logger.error({ err: error }, 'standard input is not understood any more'))
  await worker.start()
  process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid })}\n`)

  let stopping = false
  const stop = async () => {
    if (stopping) return
    stopping = true
    await worker.stop()
    process.exit(0)
  }
  process.on('SIGTERM', () => void stop())
  process.on('SIGINT', () => void stop())
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(3)
})
