import { setTimeout as sleep } from 'node:timers/promises'
import type { JobResult } from '@ergon/contract'
import { OUTPUT_START } from '../control/read-output.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { printResult } from './print-result.ts'
import { Spinner } from './terminal.ts'
import type { CommandContext } from './with-database.ts'

const POLL_MS = 50
const FINAL = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT'])

/** Shows output as it comes, then the result, and gives it (`isQuiet`: its JSON alone is printed); Ctrl-C cancels the job and waits for its end. */
export async function followJob({ control }: CommandContext, id: string, isQuiet: boolean): Promise<JobResult> {
  const spinner = new Spinner()
  const onInterrupt = () => void control.cancelJob(id)
  process.once('SIGINT', onInterrupt)
  let position = OUTPUT_START
  try {
    for (;;) {
      // The state first: output that is read after a final state is complete.
      const result = await control.readJob(id)
      if (result === null) throw new ErgonError('JOB_NOT_FOUND', `job ${id} was deleted while it was followed`)
      const output = await control.readOutput(id, position)
      if (output === null) throw new ErgonError('JOB_NOT_FOUND', `job ${id} was deleted while it was followed`)
      position = output.position
      if (!isQuiet) {
        if (output.chunks.length > 0) spinner.hide()
        for (const chunk of output.chunks) process[chunk.stream].write(chunk.bytes)
      }
      if (FINAL.has(result.status)) {
        spinner.hide()
        if (isQuiet) process.stdout.write(`${JSON.stringify(result)}\n`)
        else printResult(result, control)
        return result
      }
      if (!isQuiet) spinner.show(`job ${id} ${result.status.toLowerCase()}`)
      await sleep(POLL_MS)
    }
  } finally {
    spinner.hide()
    process.removeListener('SIGINT', onInterrupt)
  }
}
