import type { Completion } from '../queue/complete.ts'

/** What one statement carries at the most: a large result goes by itself, and nobody waits behind it for long. */
const MAX_JOBS = 64
const MAX_CHARACTERS = 1_048_576

interface Waiting {
  completion: Completion
  resolve(accepted: boolean): void
  reject(error: unknown): void
}

export interface CompletionBatchesOptions {
  /** Records successes in one transaction; gives the ids that counted. */
  write(completions: readonly Completion[]): Promise<ReadonlySet<string>>
  /** Whether one value, and not the database, is why a batch failed: then each is tried by itself. */
  isDataFault(error: unknown): boolean
}

/** Records what comes while the one connection is busy together: a job alone waits for nobody, and many share a commit. */
export class CompletionBatches {
  readonly #options: CompletionBatchesOptions
  readonly #waiting: Waiting[] = []
  #isWriting = false

  constructor(options: CompletionBatchesOptions) {
    this.#options = options
  }

  /** False when the job was not ours any more; rejects as the write of the job alone would. */
  complete(completion: Completion): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ completion, resolve, reject })
      if (!this.#isWriting) void this.#writeAll()
    })
  }

  async #writeAll(): Promise<void> {
    this.#isWriting = true
    while (this.#waiting.length > 0) await this.#write(this.#waiting.splice(0, this.#countNext()))
    this.#isWriting = false
  }

  #countNext(): number {
    let characters = 0
    for (const [index, { completion }] of this.#waiting.entries()) {
      characters += sizeOf(completion)
      if (index === MAX_JOBS || (index > 0 && characters > MAX_CHARACTERS)) return index
    }
    return this.#waiting.length
  }

  async #write(batch: readonly Waiting[]): Promise<void> {
    try {
      const accepted = await this.#options.write(batch.map(({ completion }) => completion))
      for (const { completion, resolve } of batch) resolve(accepted.has(completion.id))
    } catch (error) {
      if (batch.length > 1 && this.#options.isDataFault(error)) for (const each of batch) await this.#write([each])
      else for (const { reject } of batch) reject(error)
    }
  }
}

function sizeOf({ outputJson, stdout, stderr }: Completion): number {
  return (outputJson?.length ?? 0) + (stdout?.length ?? 0) + (stderr?.length ?? 0)
}
