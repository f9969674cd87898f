import path from 'node:path'
import type { ClaimedJob } from '../queue/types.ts'
import type { ResolvedService } from '../registry/service-registry.ts'
import { Redactor } from '../platform/text/redact.ts'
import { OutputRecorder, type AppendOutput } from './output-recorder.ts'

/** Why a worker ends an attempt that has not ended by itself. */
export type AbortReason =
  /** Somebody cancelled the job: the row says so already and the fence is gone. */
  | 'cancelled'
  /** The database does not count this attempt as ours any more, or we could not ask it for too long. */
  | 'lost'
  /** The worker stops and hands the job back, uncounted. */
  | 'drained'

/** One claimed job while this worker holds it. */
export class Attempt {
  readonly job: ClaimedJob
  readonly claimedAt = performance.now()
  /** The secrets that whoever runs the attempt holds; nothing that is recorded shows them. */
  readonly redactor = new Redactor()
  readonly output: OutputRecorder
  readonly spoolFolder: string
  /** What the job's name stands for in the worker's registry, once it was looked up. */
  resolved: ResolvedService | null = null
  readonly #controller = new AbortController()
  #abortReason: AbortReason | null = null
  #whenRun: () => void = () => {}

  constructor(job: ClaimedJob, spoolRoot: string, append: AppendOutput) {
    this.job = job
    this.output = new OutputRecorder(append, this.redactor)
    this.spoolFolder = path.join(spoolRoot, `${job.id}-${job.fence}`)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** The first reason this attempt was aborted for, or 'lost' once it is lost; null while it was not. */
  get abortReason(): AbortReason | null {
    return this.#abortReason
  }

  /** Has `listener` called once the attempt runs no more, with its outcome still to be written. */
  onRun(listener: () => void): void {
    this.#whenRun = listener
  }

  /** Called by whoever runs it, once. */
  hasRun(): void {
    this.#whenRun()
  }

  abort(reason: AbortReason): void {
    // An attempt that is lost has nothing left to write or to hand back, so nobody may wait for that.
    if (reason === 'lost') this.#abortReason = reason
    else this.#abortReason ??= reason
    this.#controller.abort()
  }
}
