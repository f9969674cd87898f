/** Counts free places: `total` jobs at once, and of these at most so many of one execution class. */
export class Slots {
  readonly #total: number
  readonly #perClass: ReadonlyMap<string, number>
  readonly #used = new Map<string, number>()
  #usedTotal = 0
  #waiting: (() => void)[] = []

  constructor(total: number, perClass: ReadonlyMap<string, number>) {
    this.#total = total
    this.#perClass = perClass
  }

  get busy(): number {
    return this.#usedTotal
  }

  /** Free places for each lane, adding up to no more than the free total; lanes that have none are left out. */
  free(lanes: readonly string[]): { lane: string; slots: number }[] {
    let left = this.#total - this.#usedTotal
    const free: { lane: string; slots: number }[] = []
    for (const lane of lanes) {
      const name = classOf(lane)
      const limit = this.#perClass.get(name) ?? this.#total
      const slots = Math.min(left, limit - (this.#used.get(name) ?? 0))
      if (slots <= 0) continue
      free.push({ lane, slots })
      left -= slots
    }
    return free
  }

  take(lane: string): void {
    const name = classOf(lane)
    this.#used.set(name, (this.#used.get(name) ?? 0) + 1)
    this.#usedTotal++
  }

  release(lane: string): void {
    const name = classOf(lane)
    this.#used.set(name, (this.#used.get(name) ?? 0) - 1)
    this.#usedTotal--
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /** Resolves when a place becomes free. */
  released(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

/** A lane is an execution class with an optional queue name behind a colon. */
function classOf(lane: string): string {
  return lane.split(':', 1)[0] ?? lane
}
