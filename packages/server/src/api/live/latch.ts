/** Opened any number of times while nobody waits, it lets one wait pass. */
export class Latch {
  #isOpen = false
  #release: (() => void) | null = null

  open(): void {
    this.#isOpen = true
    this.#release?.()
  }

  /** Resolves once it was opened since the last wait. */
  async pass(): Promise<void> {
    if (!this.#isOpen) await new Promise<void>((resolve) => (this.#release = resolve))
    this.#isOpen = false
    this.#release = null
  }
}
