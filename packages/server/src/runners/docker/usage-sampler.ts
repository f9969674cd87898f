import type { Container } from 'dockerode'
import { z } from 'zod'

const count = z.number().nonnegative().catch(0)
const statsSchema = z.object({
  cpu_stats: z
    .object({ cpu_usage: z.object({ total_usage: count }).catch({ total_usage: 0 }) })
    .catch({ cpu_usage: { total_usage: 0 } }),
  memory_stats: z.object({ usage: count, max_usage: count }).catch({ usage: 0, max_usage: 0 }),
})

export interface Usage {
  cpuMs: number
  /** The engine's own peak where it knows one (cgroup v1), else the largest sample. */
  peakMemoryBytes: number
}

const NS_PER_MS = 1e6
/** A first look soon, since most jobs are short; then seldom, since each costs the engine some milliseconds. */
const FIRST_MS = 5
const LONGEST_MS = 1_000

/** Asks the engine what a running container has used; what it used after the last look is not known to anybody. */
export class UsageSampler {
  readonly #container: Container
  readonly #onUsage: (usage: Usage) => void
  readonly #longestMs: number
  readonly #stopping = new AbortController()
  #usage: Usage = { cpuMs: 0, peakMemoryBytes: 0 }
  #timer: NodeJS.Timeout | null = null

  constructor(container: Container, { onUsage, isWatched }: { onUsage(usage: Usage): void; isWatched: boolean }) {
    this.#container = container
    this.#onUsage = onUsage
    this.#longestMs = isWatched ? LONGEST_MS / 5 : LONGEST_MS
  }

  start(): void {
    this.#lookIn(FIRST_MS)
  }

  stop(): Usage {
    this.#stopping.abort()
    if (this.#timer !== null) clearTimeout(this.#timer)
    return this.#usage
  }

  #lookIn(ms: number): void {
    this.#timer = setTimeout(() => {
      void this.#lookAndGoOn(ms)
    }, ms)
  }

  async #lookAndGoOn(ms: number): Promise<void> {
    await this.#look()
    if (!this.#stopping.signal.aborted) this.#lookIn(Math.min(ms * 2, this.#longestMs))
  }

  async #look(): Promise<void> {
    try {
      const answer: unknown = await this.#container.stats({ stream: false, 'one-shot': true })
      const { cpu_stats: cpu, memory_stats: memory } = statsSchema.parse(answer)
      this.#usage = {
        cpuMs: Math.max(this.#usage.cpuMs, cpu.cpu_usage.total_usage / NS_PER_MS),
        peakMemoryBytes: Math.max(this.#usage.peakMemoryBytes, memory.usage, memory.max_usage),
      }
      this.#onUsage(this.#usage)
    } catch {
      // The container has ended, or the engine is slow: the last look stands.
    }
  }
}
