import { SERVED_EXECUTION_TYPES } from '../registry/field-support.ts'

/** The lanes a worker serves unless it is told which: every execution type that this build has a runner for. */
export const DEFAULT_LANES: readonly string[] = SERVED_EXECUTION_TYPES
