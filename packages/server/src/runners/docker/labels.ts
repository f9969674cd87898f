/** On every container of ours, so that whoever finds one knows whose it is. */
export const LABELS = {
  /** Which database's jobs: engines are shared, and only that database knows which attempts are alive. */
  instance: 'ergon.instance',
  job: 'ergon.job',
  attempt: 'ergon.attempt',
  service: 'ergon.service',
  /** `job`, or `files` for the container that keeps a job's output folder. */
  role: 'ergon.role',
} as const

export interface ContainerOwner {
  instance: string
  jobId: string
  attempt: number
  serviceName: string
}

export function labelsOf(owner: ContainerOwner, role: 'job' | 'files'): Record<string, string> {
  return {
    [LABELS.instance]: owner.instance,
    [LABELS.job]: owner.jobId,
    [LABELS.attempt]: String(owner.attempt),
    [LABELS.service]: owner.serviceName,
    [LABELS.role]: role,
  }
}
