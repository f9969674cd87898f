import { createWorker } from '../app/create-worker.ts'
import { workerProcessConfigSchema } from '../app/worker-process-config.ts'

/** The worker process: configuration on standard input, one line of JSON when ready, drains on SIGTERM. */
async function main(): Promise<void> {
  let text = ''
  for await (const chunk of process.stdin) text += String(chunk)
  const config = workerProcessConfigSchema.parse(JSON.parse(text))
  // A parent that was killed before the kernel was asked to tell us of its death takes nobody along.
  if (process.ppid !== config.parentPid) throw new Error('the process that started this worker is gone')
  const worker = createWorker(config)
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
