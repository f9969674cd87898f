import path from 'node:path'
import { z } from 'zod'

const PROFILES = ['development', 'staging', 'production'] as const

/** Every setting with the values it takes. */
export const settingsSchema = z.object({
  profile: z.enum(PROFILES),
  /** Data folder: database, artifacts, environments, credentials. */
  home: z.string().refine(path.isAbsolute, 'expected an absolute path'),
  /** Cache folder: everything in it can be made again. */
  cache: z.string().refine(path.isAbsolute, 'expected an absolute path'),
  /** Where environments are; `<home>/environments` unless several data folders share them. */
  environments: z.string().refine(path.isAbsolute, 'expected an absolute path'),
  /** The application's database, or null for the embedded one. */
  databaseUrl: z
    .string()
    .regex(/^postgres(ql)?:\/\//, 'expected a URL that begins with postgresql://')
    .nullable(),
  /** The OCI runtime that starts sandboxes. */
  sandboxRuntime: z.enum(['crun', 'runc', 'runsc']),
  /** Debian mirrors that environments are built from; null is deb.debian.org. */
  debianMirror: z.url().nullable(),
  debianSecurityMirror: z.url().nullable(),
  logLevel: z.enum(['silent', 'error', 'warn', 'info', 'debug']),
})
export type Settings = z.infer<typeof settingsSchema>
