/** Time and chance, so that tests need neither. */
export interface Clock {
  now(): number
  random(): number
  /** Rejects with the signal's reason once it is aborted. */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>
}

export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  sleep: (ms, signal) =>
    new Promise((resolve, reject) => {
      const end = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', end)
        if (signal?.aborted === true) reject(signal.reason as Error)
        else resolve()
      }
      const timer = setTimeout(end, ms)
      if (signal?.aborted === true) end()
      else signal?.addEventListener('abort', end)
    }),
}
