import { z } from 'zod'
import { type Database, queryRows } from '../../platform/db/database.ts'

const lockedSchema = z.object({ locked: z.boolean() })

interface Bucket {
  /** One of the jobs in it. */
  jobId: string
  waiting: number
  isHeld: boolean
  isAsking: boolean
}

/**
 * Has whoever ends a job tell of it while somebody waits for it: it holds the lock of the job's doorbell, which it shares
 * with one job in 256, on the session that listens for `ergon_end`. Nothing may rest upon it: that session may be away,
 * anybody may ring, and what is told is a hint.
 */
export class EndBell {
  readonly #session: () => Database | null
  readonly #buckets = new Map<string, Bucket>()

  /** `session` is the one that listens; null while it is being replaced. */
  constructor(session: () => Database | null) {
    this.#session = session
  }

  /** Whether the job's end would be told of from now on. */
  isHeld(jobId: string): boolean {
    return this.#buckets.get(bucketOf(jobId))?.isHeld === true
  }

  /** Somebody waits for the job until `leave`. */
  enter(jobId: string): void {
    const bucket = this.#buckets.get(bucketOf(jobId)) ?? { jobId, waiting: 0, isHeld: false, isAsking: false }
    bucket.waiting += 1
    this.#buckets.set(bucketOf(jobId), bucket)
    void this.#hold(bucket)
  }

  leave(jobId: string): void {
    const bucket = this.#buckets.get(bucketOf(jobId))
    if (bucket === undefined) return
    bucket.waiting -= 1
    if (bucket.waiting === 0) void this.#letGo(bucket)
  }

  /** Asks for the lock once more where it could not be had. */
  retry(jobId: string): void {
    const bucket = this.#buckets.get(bucketOf(jobId))
    if (bucket !== undefined) void this.#hold(bucket)
  }

  /** The session that listened is gone, and its locks with it. */
  lose(): void {
    for (const bucket of this.#buckets.values()) {
      bucket.isHeld = false
      void this.#hold(bucket)
    }
  }

  async #hold(bucket: Bucket): Promise<void> {
    const session = this.#session()
    if (bucket.isHeld || bucket.isAsking || session === null) return
    bucket.isAsking = true
    try {
      const [row] = await queryRows(
        session,
        lockedSchema,
        'select pg_try_advisory_lock_shared(jobs.end_doorbell_key($1)) as locked',
        [bucket.jobId],
      )
      bucket.isHeld = row?.locked === true
    } catch {
      // The session broke, which its owner tells of: until then everybody looks for himself.
    } finally {
      bucket.isAsking = false
    }
    if (bucket.waiting === 0) await this.#letGo(bucket)
  }

  async #letGo(bucket: Bucket): Promise<void> {
    // Whoever asks for the lock gives it back when it comes.
    if (bucket.isAsking) return
    this.#buckets.delete(bucketOf(bucket.jobId))
    if (!bucket.isHeld) return
    bucket.isHeld = false
    await this.#session()
      ?.query('select pg_advisory_unlock_shared(jobs.end_doorbell_key($1))', [bucket.jobId])
      .catch(() => {})
  }
}

function bucketOf(jobId: string): string {
  return jobId.slice(-2).toLowerCase()
}
