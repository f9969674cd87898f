import type { Check } from './hostile-case.ts'

/** Every check in turn; the first that is not content speaks. */
export function all(...checks: readonly Check[]): Check {
  return (result) => checks.map((check) => check(result)).find((problem) => problem !== null) ?? null
}

/** A log line of the job says it. */
export function logged(pattern: RegExp): Check {
  return ({ logs }) =>
    logs.some(({ message }) => pattern.test(message)) ? null : `no log line matches ${String(pattern)}`
}

/** The job's log is exactly these warnings, in this order. */
export function warned(messages: readonly string[]): Check {
  return ({ logs }) => {
    const seen = logs.map(({ level, message }) => `${level}: ${message}`)
    const wanted = messages.map((message) => `warn: ${message}`)
    return JSON.stringify(seen) === JSON.stringify(wanted) ? null : `its log is ${JSON.stringify(seen)}`
  }
}

/** It ended at once instead of waiting for what it left running. */
export function endedWithin(milliseconds: number): Check {
  return ({ duration_ms: duration }) =>
    duration !== null && duration < milliseconds ? null : `it took ${String(duration)} ms`
}

export function printed(wanted: string | RegExp): Check {
  return ({ outputs: { stdout } }) => {
    const isRight = typeof wanted === 'string' ? stdout === wanted : wanted.test(stdout ?? '')
    return isRight ? null : `it printed ${JSON.stringify(stdout)}, not ${String(wanted)}`
  }
}

/** An attempt that ran says in what. */
export const neverStarted: Check = ({ env_version: ranIn }) => (ranIn === null ? null : `it ran in ${ranIn}`)

/** Nothing of the job's was stored. */
export const leftNothing: Check = ({ artifacts }) =>
  artifacts.length === 0 ? null : `it left ${artifacts.map(({ metadata }) => JSON.stringify(metadata.name)).join(', ')}`
