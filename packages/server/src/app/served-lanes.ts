import type { Settings } from '../config/settings.ts'
import { SERVED_EXECUTION_TYPES } from '../registry/field-support.ts'

/** Says why this machine or its settings leave a type without what its runner needs; null when it can work. Types that always can are not here. */
const WHY_NOT: Readonly<Record<string, (settings: Settings) => string | null>> = {}

/** The types whose jobs run in sandboxes, which sandboxd makes. */
const SANDBOXED: ReadonlySet<string> = new Set(['sandbox', 'shell'])

/** The lanes a worker serves unless it is told which: every execution type whose runner can work here. */
export function defaultLanes(settings: Settings): string[] {
  return SERVED_EXECUTION_TYPES.filter((type) => whyNotServed(type, settings) === null)
}

/** Why a worker here cannot serve a type: this build has no runner for it, or it lacks what the runner needs. */
export function whyNotServed(type: string, settings: Settings): string | null {
  if (!SERVED_EXECUTION_TYPES.includes(type)) return 'this build has no runner for it'
  return WHY_NOT[type]?.(settings) ?? null
}

/** The execution type of a lane, which may have a queue name behind a colon. */
export function typeOfLane(lane: string): string {
  return lane.split(':', 1)[0] ?? lane
}

/** Whether one of these lanes needs sandboxd. */
export function needsSandboxd(lanes: readonly string[]): boolean {
  return lanes.some((lane) => SANDBOXED.has(typeOfLane(lane)))
}
