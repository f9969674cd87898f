import type { PayloadChange } from './compose-payload.ts'

/** What a payload says to have its job isolated so. Every job of this build is fresh, so there is nothing to say yet. */
const REQUESTS = { fresh: {} } as const satisfies Record<string, PayloadChange>

/** How a job may be isolated. */
export type Isolation = keyof typeof REQUESTS
export const ISOLATIONS = Object.keys(REQUESTS) as [Isolation, ...Isolation[]]

export function requestIsolation(isolation: Isolation): PayloadChange {
  return REQUESTS[isolation]
}
