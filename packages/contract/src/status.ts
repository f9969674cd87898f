/** States of a job as `jobs.tb_job_run.status` and the SQL views spell them. */
export const JOB_STATUSES = ['pending', 'running', 'completed', 'failed', 'cancelled'] as const
export type JobStatus = (typeof JOB_STATUSES)[number]

/** States of a job as the JSON job contract spells them. */
export const CONTRACT_STATUSES = [
  'PENDING',
  'QUEUED',
  'RUNNING',
  'SUCCEEDED',
  'FAILED',
  'CANCELLED',
  'TIMED_OUT',
] as const
export type ContractStatus = (typeof CONTRACT_STATUSES)[number]

/**
 * The contract's word for a row's status. A wall-clock time-out is a failure in the table and TIMED_OUT here,
 * so the failure code decides between the two.
 */
export function toContractStatus(status: JobStatus, failureCode: string | null): ContractStatus {
  switch (status) {
    case 'pending':
      return 'QUEUED'
    case 'running':
      return 'RUNNING'
    case 'completed':
      return 'SUCCEEDED'
    case 'cancelled':
      return 'CANCELLED'
    case 'failed':
      return failureCode === 'WALL_TIME' ? 'TIMED_OUT' : 'FAILED'
  }
}

/** Whether a job in this state changes no more by itself. */
export function hasEnded(state: JobStatus): boolean {
  return state !== 'pending' && state !== 'running'
}
