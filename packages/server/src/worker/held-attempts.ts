import type { JobClaim } from '../queue/types.ts'
import type { Attempt } from './attempt.ts'

/**
 * The attempts a worker runs, and which of its claims ever began. By claim, not by job: an attempt that was lost may
 * still wind down while the same worker runs the job's next one.
 */
export class HeldAttempts {
  readonly #attempts = new Map<string, Attempt>()
  /** When the claim began, by `performance.now()`. */
  readonly #begun = new Map<string, number>()

  begin(attempt: Attempt): void {
    this.#attempts.set(keyOf(attempt.job), attempt)
    this.#begun.set(keyOf(attempt.job), attempt.claimedAt)
  }

  end(attempt: Attempt): void {
    this.#attempts.delete(keyOf(attempt.job))
  }

  get(claim: JobClaim): Attempt | undefined {
    return this.#attempts.get(keyOf(claim))
  }

  values(): Iterable<Attempt> {
    return this.#attempts.values()
  }

  /** Whether the job was ever run under this claim, as far as it is remembered. */
  hasBegun(claim: JobClaim): boolean {
    return this.#begun.has(keyOf(claim))
  }

  /** Forgets what began before `askedAt`, is over, and is not among the claims that the database still grants. */
  forgetAllBut(granted: readonly JobClaim[], askedAt: number): void {
    const kept = new Set(granted.map(keyOf))
    for (const [key, begunAt] of this.#begun) {
      if (begunAt < askedAt && !kept.has(key) && !this.#attempts.has(key)) this.#begun.delete(key)
    }
  }
}

function keyOf({ id, fence }: JobClaim): string {
  return `${id} ${fence}`
}
