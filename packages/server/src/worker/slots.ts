/** Execution types whose jobs run in sandboxes share the places that a machine has for these. */
const SANDBOXED: ReadonlySet<string> = new Set(['sandbox', 'shell'])

/** How long a lane that had no jobs is taken to have none, as long as a worker that sleeps goes without a look. */
const EMPTY_MS = 100

/** Counts free places: `total` jobs at once, and of these at most so many of one class of lanes. */
export class Slots {
  readonly #total: number
  readonly #perClass: ReadonlyMap<string, number>
  readonly #used = new Map<string, number>()
  readonly #emptyUntil = new Map<string, number>()
  #usedTotal = 0
  #turn = 0
  #waiting: (() => void)[] = []

  constructor(total: number, perClass: ReadonlyMap<string, number>) {
    this.#total = total
    this.#perClass = perClass
  }

  get busy(): number {
    return this.#usedTotal
  }

  /**
   * Free places for each lane, adding up to no more than is free of its class and in all. Lanes that compete get equal
   * parts, since nobody knows yet which of them has jobs; the odd places go to another lane each time. A lane that just
   * had no jobs gets what the others leave. A lane with room in its class that comes away empty this time is there with
   * 0; one without room is left out.
   */
  free(lanes: readonly string[], nowMs = performance.now()): { lane: string; slots: number }[] {
    const left = new Map(lanes.map((lane) => [classOf(lane), this.#leftOf(classOf(lane))]))
    const open = [...new Set(lanes)].filter((lane) => (left.get(classOf(lane)) ?? 0) > 0)
    const start = open.length === 0 ? 0 : this.#turn++ % open.length
    const inTurn = [...open.slice(start), ...open.slice(0, start)]
    const isEmpty = (lane: string) => (this.#emptyUntil.get(lane) ?? 0) > nowMs
    const given = new Map<string, number>()
    let total = this.#total - this.#usedTotal
    for (const group of [inTurn.filter((lane) => !isEmpty(lane)), inTurn.filter(isEmpty)]) {
      for (let hasGiven = true; hasGiven; ) {
        hasGiven = false
        for (const lane of group) {
          const room = Math.min(total, left.get(classOf(lane)) ?? 0)
          if (room <= 0) continue
          given.set(lane, (given.get(lane) ?? 0) + 1)
          left.set(classOf(lane), (left.get(classOf(lane)) ?? 0) - 1)
          total--
          hasGiven = true
        }
      }
    }
    return open.map((lane) => ({ lane, slots: given.get(lane) ?? 0 }))
  }

  /** The lane was asked and had no job. */
  cameEmpty(lane: string, nowMs = performance.now()): void {
    this.#emptyUntil.set(lane, nowMs + EMPTY_MS)
  }

  /** Somebody told of jobs in it. */
  wasRung(lane: string): void {
    this.#emptyUntil.delete(lane)
  }

  take(lane: string): void {
    const name = classOf(lane)
    this.#used.set(name, (this.#used.get(name) ?? 0) + 1)
    this.#usedTotal++
  }

  /** The job has left its class's place, and goes on as one of the total. */
  vacate(lane: string): void {
    this.#free(classOf(lane))
    this.#wake()
  }

  /** The job is over; `hasVacated` says whether it has left its class's place before. */
  release(lane: string, hasVacated = false): void {
    if (!hasVacated) this.#free(classOf(lane))
    this.#usedTotal--
    this.#wake()
  }

  /** Resolves when a place becomes free. */
  released(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  #free(name: string): void {
    this.#used.set(name, (this.#used.get(name) ?? 0) - 1)
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  #leftOf(name: string): number {
    const limit = this.#perClass.get(name) ?? this.#total
    return Math.min(this.#total - this.#usedTotal, limit - (this.#used.get(name) ?? 0))
  }
}

/** A lane is an execution type with an optional queue name behind a colon. */
function classOf(lane: string): string {
  const type = lane.split(':', 1)[0] ?? lane
  return SANDBOXED.has(type) ? 'sandbox' : type
}
