import type { ExecutionContext } from './runner.ts'

/** The attempts that a runner holds, so that `cancel` finds them. Two of one job overlap when a lost one still ends. */
export class RunningAttempts {
  readonly #controllers = new Map<string, Set<AbortController>>()

  /** Runs an attempt whose signal aborts with the context's own, and on `cancel`. */
  async hold<T>(
    jobId: string,
    context: ExecutionContext,
    attempt: (context: ExecutionContext) => Promise<T>,
  ): Promise<T> {
    const controller = new AbortController()
    const held = this.#controllers.get(jobId) ?? new Set()
    this.#controllers.set(jobId, held.add(controller))
    try {
      return await attempt({ ...context, signal: AbortSignal.any([context.signal, controller.signal]) })
    } finally {
      held.delete(controller)
      if (held.size === 0) this.#controllers.delete(jobId)
    }
  }

  /** False when no attempt of the job is held. */
  cancel(jobId: string): boolean {
    const held = this.#controllers.get(jobId)
    for (const controller of held ?? []) controller.abort()
    return held !== undefined
  }
}
