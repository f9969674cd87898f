/** What one statement carries at the most: a large result goes by itself, and nobody waits behind it for long. */
const MAX_JOBS = 64
const MAX_CHARACTERS = 1_048_576

interface Waiting<Item> {
  item: Item
  resolve(accepted: boolean): void
  reject(error: unknown): void
}

export interface WriteBatchesOptions<Item> {
  /** Writes items in one transaction; gives the ids of the jobs whose item counted. */
  write(items: readonly Item[]): Promise<ReadonlySet<string>>
  /** Whether one value, and not the database, is why a batch failed: then each is tried by itself. */
  isDataFault(error: unknown): boolean
  /** About how many characters an item is. */
  sizeOf(item: Item): number
}

/**
 * Writes what jobs give while the one connection is busy together: a job alone waits for nobody, those that give
 * something in the same moment share the first statement, and many share a commit.
 */
export class WriteBatches<Item extends { id: string }> {
  readonly #options: WriteBatchesOptions<Item>
  readonly #waiting: Waiting<Item>[] = []
  #isWriting = false

  constructor(options: WriteBatchesOptions<Item>) {
    this.#options = options
  }

  /** False when the job was not ours any more; rejects as the write of the item alone would. */
  write(item: Item): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject })
      if (this.#isWriting) return
      this.#isWriting = true
      // A claim begins its jobs one after the other in one turn: the first shall not go without the others.
      queueMicrotask(() => void this.#writeAll())
    })
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting.length > 0) await this.#writeBatch(this.#waiting.splice(0, this.#countNext()))
    this.#isWriting = false
  }

  #countNext(): number {
    let characters = 0
    for (const [index, { item }] of this.#waiting.entries()) {
      characters += this.#options.sizeOf(item)
      if (index === MAX_JOBS || (index > 0 && characters > MAX_CHARACTERS)) return index
    }
    return this.#waiting.length
  }

  async #writeBatch(batch: readonly Waiting<Item>[]): Promise<void> {
    try {
      const accepted = await this.#options.write(batch.map(({ item }) => item))
      for (const { item, resolve } of batch) resolve(accepted.has(item.id))
    } catch (error) {
      if (batch.length > 1 && this.#options.isDataFault(error)) for (const each of batch) await this.#writeBatch([each])
      else for (const { reject } of batch) reject(error)
    }
  }
}
