import { z } from 'zod'
import { facadeRulesSchema } from '../api/facade/facade-rules.ts'

const registryTextSchema = z.object({
  file: z.string(),
  text: z.string(),
  profile: z.enum(['development', 'staging', 'production']),
})
/** A service registry as the API is given it: the file's text, and nothing that it refers to. */
export type RegistryText = z.infer<typeof registryTextSchema>

/** What an API process is told on standard input, where its database password is in nobody's process list. */
export const apiProcessConfigSchema = z.object({
  version: z.string(),
  home: z.string(),
  environments: z.string(),
  databaseUrl: z.string(),
  host: z.string(),
  /** 0 for any that is free. */
  port: z.number().int().min(0).max(65_535),
  corsOrigins: z.array(z.string()),
  /** Null where there is none. */
  facade: facadeRulesSchema.nullable(),
  trustedProxies: z.array(z.string()),
  registry: registryTextSchema.nullable(),
  logLevel: z.string(),
  /** Whose child it must still be once it asked to die with its parent. */
  parentPid: z.number().int().positive(),
})
export type ApiProcessConfig = z.infer<typeof apiProcessConfigSchema>

/** What a running API may be told after its configuration, a line each. */
export const apiMessageSchema = z.object({ registry: registryTextSchema })

/** The line that an API process says when it listens. */
export const apiReadySchema = z.object({ ready: z.literal(true), pid: z.number(), url: z.string() })
