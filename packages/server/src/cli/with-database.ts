import { type ControlPlane, createControlPlane } from '../app/create-control-plane.ts'
import { type StackUse, useStack } from '../app/stack-client.ts'
import type { StackNeed } from '../app/stack-protocol.ts'
import { type HomePaths, homePaths } from '../config/home-paths.ts'
import { loadSettings } from '../config/load-settings.ts'
import type { Settings } from '../config/settings.ts'
import { createPool } from '../platform/db/database.ts'
import { requireCurrentSchema } from '../platform/db/require-current-schema.ts'

export interface CommandContext {
  settings: Settings
  paths: HomePaths
  control: ControlPlane
}

/** Runs a command's work with a database (and a worker, if it needs one) of this ERGON_HOME, and lets go of them after. */
export async function withDatabase<T>(
  need: StackNeed & ('database' | 'worker'),
  work: (context: CommandContext) => Promise<T>,
  options: { flags?: Partial<Settings>; needsRegistry?: boolean } = {},
): Promise<T> {
  const { settings } = loadSettings(process.env, options.flags, { startsWorkers: need === 'worker' })
  const paths = homePaths(settings)
  // The user's own database needs no process of ours for a command that only reads and writes rows.
  const use: StackUse | null =
    need === 'database' && settings.databaseUrl !== null
      ? null
      : await useStack(settings, paths, need, options.needsRegistry === true ? settings.registry : null)
  const url = use?.databaseUrl ?? settings.databaseUrl ?? ''
  const db = createPool(url, { maxConnections: 2, applicationName: 'ergon-cli' })
  try {
    await requireCurrentSchema(db, url)
    return await work({ settings, paths, control: createControlPlane(db, paths) })
  } finally {
    await db.end()
    await use?.release()
  }
}
