import { z } from 'zod'
import { registryBundleSchema } from '../registry/registry-bundle.ts'
import { settingsSchema } from '../config/settings.ts'
import { engineConfigSchema } from '../runners/docker/engine-config.ts'

/** What a worker process is told on standard input, where its database password is in nobody's process list. */
export const workerProcessConfigSchema = z.object({
  name: z.string(),
  version: z.string(),
  home: z.string(),
  environments: z.string(),
  databaseUrl: z.string(),
  /** Signs in as a login of the group ergon_callback; without one this worker runs no callbacks. */
  callbackDatabaseUrl: z.string().nullable(),
  slots: z.number().int().positive(),
  sandboxSlots: z.number().int().nonnegative(),
  lanes: z.array(z.string()),
  sandboxRuntime: settingsSchema.shape.sandboxRuntime,
  executorPolicy: settingsSchema.shape.executorPolicy,
  /** Whether to have templates ready before the first job. */
  warmUp: z.boolean(),
  /** The service registry and what it names; null for the built-in services alone. */
  registry: registryBundleSchema.nullable(),
  /** The container engine, of a worker that serves docker jobs and nothing else. */
  dockerEngine: engineConfigSchema.nullable(),
  /** The private key that signs seals of the audit trail; without one this worker seals nothing. */
  signingKey: z.string().nullable(),
  drainMs: z.number().int().nonnegative(),
  logLevel: z.string(),
  /** Whose child it must still be once it asked to die with its parent. */
  parentPid: z.number().int().positive(),
})
/** What a running worker may be told after its configuration, a line each. */
export const workerMessageSchema = z.object({ registry: registryBundleSchema })
export type WorkerProcessConfig = z.infer<typeof workerProcessConfigSchema>
