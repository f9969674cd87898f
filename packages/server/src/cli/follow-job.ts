import { type JobResult, type JobStatus, toContractStatus } from '@ergon/contract'
import type { JobControl } from '../control/job-control.ts'
import { OUTPUT_START } from '../control/read-output.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { printResult } from './print-result.ts'
import { Spinner } from './terminal.ts'

const FINAL = new Set(['SUCCEEDED', 'FAILED', 'CANCELLED', 'TIMED_OUT'])

/** Shows output as it comes, then the result, and gives it (`isQuiet`: its JSON alone is printed); Ctrl-C cancels the job and waits for its end. */
export async function followJob(control: JobControl, id: string, isQuiet: boolean): Promise<JobResult> {
  const spinner = new Spinner()
  const onInterrupt = () =>
    void control.cancelJob(id).catch((error: unknown) => {
      process.stderr.write(
        `ergon: job ${id} could not be cancelled: ${error instanceof Error ? error.message : String(error)}\n`,
      )
    })
  process.once('SIGINT', onInterrupt)
  let position = OUTPUT_START
  try {
    for (;;) {
      for await (const news of control.followOutput(id, position)) {
        position = news.position
        if (isQuiet) continue
        if (news.chunks.length > 0) spinner.hide()
        for (const chunk of news.chunks) process[chunk.stream].write(chunk.bytes)
        spinner.show(`job ${id} ${describe(news.status)}`)
      }
      const result = await control.readJob(id)
      if (result === null) throw new ErgonError('JOB_NOT_FOUND', `job ${id} was deleted while it was followed`)
      // Somebody may have had it tried again in between.
      if (!FINAL.has(result.status)) continue
      spinner.hide()
      if (isQuiet) process.stdout.write(`${JSON.stringify(result)}\n`)
      else printResult(result, control)
      return result
    }
  } finally {
    spinner.hide()
    process.removeListener('SIGINT', onInterrupt)
  }
}

function describe(status: JobStatus): string {
  return toContractStatus(status, null).toLowerCase()
}
