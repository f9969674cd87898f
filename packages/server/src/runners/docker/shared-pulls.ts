interface SharedPull {
  done: Promise<void>
  stop: AbortController
  waiting: number
}

/** Pulls that several jobs may wait for, by what is pulled and by whom: one is made for all of them. */
export class SharedPulls {
  readonly #limitMs: number
  readonly #pulls = new Map<string, SharedPull>()

  /** `limitMs`: how long one pull may take, whoever waits for it. */
  constructor(limitMs: number) {
    this.#limitMs = limitMs
  }

  /**
   * Waits for the pull of that key, which is begun unless it is under way. Whoever gives up leaves it to the others;
   * the last one to do so ends it.
   */
  async wait(key: string, begin: (signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
    const pull = this.#pulls.get(key) ?? this.#begin(key, begin)
    pull.waiting++
    try {
      await untilAborted(pull.done, signal)
    } finally {
      pull.waiting--
      if (pull.waiting === 0) this.#end(key, pull)
    }
  }

  #begin(key: string, begin: (signal: AbortSignal) => Promise<void>): SharedPull {
    const stop = new AbortController()
    const limitMs = this.#limitMs
    const timer = setTimeout(() => stop.abort(new Error(`the pull was given up after ${limitMs} ms`)), limitMs)
    // An engine that does not answer the end of a request must not hold those who wait for it.
    const done = untilAborted(begin(stop.signal), stop.signal).finally(() => clearTimeout(timer))
    // With nobody waiting any more, its end is nobody's business.
    done.catch(() => {})
    const pull = { done, stop, waiting: 0 }
    this.#pulls.set(key, pull)
    return pull
  }

  /** Forgotten before it is ended: whoever comes now begins another one. */
  #end(key: string, pull: SharedPull): void {
    if (this.#pulls.get(key) === pull) this.#pulls.delete(key)
    pull.stop.abort(new Error('nobody waits for the pull any more'))
  }
}

/** Settles as the promise does, or rejects with the signal's reason if that comes first. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason instanceof Error ? signal.reason : new Error('aborted'))
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
