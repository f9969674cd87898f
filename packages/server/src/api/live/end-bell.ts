import { z } from 'zod'
import { type Database, queryRows } from '../../platform/db/database.ts'

/** How long ends are told of after the last one that somebody waited for: calls often follow each other. */
const LINGER_MS = 2_000

const lockedSchema = z.object({ locked: z.boolean() })

/**
 * Has whoever ends a job tell of it while somebody waits: it holds the doorbell's lock, shared, on the session that
 * listens for `ergon_end`. Nothing may rest upon it: that session may be away, and what is told is a hint.
 */
export class EndBell {
  readonly #session: () => Database | null
  #waiting = 0
  #isHeld = false
  #isAsking = false
  #linger: NodeJS.Timeout | null = null

  /** `session` is the one that listens; null while it is being replaced. */
  constructor(session: () => Database | null) {
    this.#session = session
  }

  /** Whether every end from now on is told of. */
  get isHeld(): boolean {
    return this.#isHeld
  }

  /** Somebody waits until `leave`. */
  enter(): void {
    this.#waiting += 1
    if (this.#linger !== null) clearTimeout(this.#linger)
    this.#linger = null
    void this.#hold()
  }

  leave(): void {
    this.#waiting -= 1
    if (this.#waiting > 0) return
    this.#linger = setTimeout(() => {
      this.#linger = null
      void this.#letGo()
    }, LINGER_MS).unref()
  }

  /** The session that listened is gone, and the lock with it. */
  lose(): void {
    this.#isHeld = false
    if (this.#waiting > 0) void this.#hold()
  }

  async #hold(): Promise<void> {
    const session = this.#session()
    if (this.#isHeld || this.#isAsking || session === null) return
    this.#isAsking = true
    try {
      const [row] = await queryRows(
        session,
        lockedSchema,
        'select pg_try_advisory_lock_shared(jobs.end_doorbell_key()) as locked',
        [],
      )
      this.#isHeld = row?.locked === true
    } catch {
      // The session broke, which its owner tells of: until then everybody looks for himself.
    } finally {
      this.#isAsking = false
    }
    if (this.#waiting === 0 && this.#linger === null) await this.#letGo()
  }

  async #letGo(): Promise<void> {
    if (!this.#isHeld) return
    this.#isHeld = false
    await this.#session()
      ?.query('select pg_advisory_unlock_shared(jobs.end_doorbell_key())')
      .catch(() => {})
  }
}
