import type { ExecutionContext } from './runner.ts'

/** The attempts that a runner holds, so that `cancel` finds them. Two of one job overlap when a lost one still ends. */
export class RunningAttempts {
  readonly #ends = new Map<string, Set<() => void>>()

  /** Notes how an attempt is ended; gives what forgets it again. */
  enter(jobId: string, end: () => void): () => void {
    const held = this.#ends.get(jobId) ?? new Set()
    this.#ends.set(jobId, held.add(end))
    return () => {
      held.delete(end)
      if (held.size === 0) this.#ends.delete(jobId)
    }
  }

  /** Runs an attempt whose signal aborts with the context's own, and on `cancel`. */
  async hold<T>(
    jobId: string,
    context: ExecutionContext,
    attempt: (context: ExecutionContext) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController()
    const leave = this.enter(jobId, () => controller.abort())
    try {
      return await attempt({ ...context, signal: AbortSignal.any([context.signal, controller.signal]) })
    } finally {
      leave()
    }
  }

  /** False when no attempt of the job is held. */
  cancel(jobId: string): boolean {
    const held = this.#ends.get(jobId)
    for (const end of held ?? []) end()
    return held !== undefined
  }
}
