import type { JobControl } from '../control/job-control.ts'
import { ErgonError } from '../platform/errors/ergon-error.ts'

/** How help describes what names a job. */
export const JOB_ARGUMENT = "the job's id or identifier"

/** The id of the job that somebody named on the command line; throws JOB_NOT_FOUND. */
export async function requireJobId(control: JobControl, reference: string): Promise<string> {
  const id = await control.findJobId(reference)
  if (id === null) throw jobNotFound(reference)
  return id
}

export function jobNotFound(reference: string): ErgonError {
  return new ErgonError(
    'JOB_NOT_FOUND',
    `there is no job with the id or identifier ${JSON.stringify(reference)}; \`ergon jobs list\` shows the newest`,
  )
}
