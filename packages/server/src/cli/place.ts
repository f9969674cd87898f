import type { JobControl } from '../control/job-control.ts'
import type { ServiceSummary } from '../control/registry-file.ts'

/** What `ergon services` shows, of a registry file or of a server. */
export interface ServiceCatalogue {
  list(): Promise<readonly ServiceSummary[]>
  /** Throws SERVICE_NOT_FOUND. */
  show(service: string): Promise<unknown>
  /** Of `SERVICE.OPERATION`; throws USAGE, SERVICE_NOT_FOUND or OPERATION_NOT_FOUND. */
  schemasOf(reference: string): Promise<{ input_schema: unknown; output_schema: unknown }>
}

/** Where a command's jobs are: this machine's own stack, or a server. */
export interface Place {
  /** The version of an environment that a payload names; throws ENVIRONMENT_NOT_FOUND, before anything is started. */
  resolveEnvironment(name: string): Promise<string>
  services(): Promise<ServiceCatalogue>
  /** Runs work with jobs at hand, and where it needs one, with a worker that serves them. */
  use<T>(need: 'database' | 'worker', work: (control: JobControl) => Promise<T>): Promise<T>
  /** Submits a call of `SERVICE.OPERATION` and hands on the job's id; what is wrong with the call is told before anything is started. */
  call<T>(reference: string, inputJson: string, work: (control: JobControl, id: string) => Promise<T>): Promise<T>
}
