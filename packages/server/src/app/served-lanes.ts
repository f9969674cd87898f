import { SETTING_VARIABLES } from '../config/setting-catalogue.ts'
import type { Settings } from '../config/settings.ts'
import { SERVED_EXECUTION_TYPES } from '../registry/field-support.ts'

/** Says why this machine or its settings leave a type without what its runner needs; null when it can work. Types that always can are not here. */
const WHY_NOT: Readonly<Record<string, (settings: Settings) => string | null>> = {
  docker: ({ dockerHost }) =>
    dockerHost === null ? `${SETTING_VARIABLES.dockerHost} names no container engine for it` : null,
}

/** A container engine is root on its machine, so whoever holds it does nothing else: parses nobody else's bytes, holds no other secret. */
const APART: ReadonlySet<string> = new Set(['docker'])

/** The types whose jobs run in sandboxes, which sandboxd makes. */
const SANDBOXED: ReadonlySet<string> = new Set(['sandbox', 'shell'])

/** The lanes a worker serves unless it is told which: every execution type whose runner can work here, but for those that need a worker apart. */
export function defaultLanes(settings: Settings): string[] {
  return servable(settings).filter((type) => !APART.has(type))
}

/** The lanes that need a worker of their own, of those that can be served here. */
export function lanesApart(settings: Settings): string[] {
  return servable(settings).filter((type) => APART.has(type))
}

/** The types among these lanes that no worker may serve beside others; null when that is not so. */
export function findMixture(lanes: readonly string[]): string | null {
  const types = new Set(lanes.map(typeOfLane))
  return types.size < 2 ? null : ([...types].find((type) => APART.has(type)) ?? null)
}

function servable(settings: Settings): string[] {
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
