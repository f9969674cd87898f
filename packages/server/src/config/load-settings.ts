import os from 'node:os'
import path from 'node:path'
import type { z } from 'zod'
import { ErgonError } from '../platform/errors/ergon-error.ts'
import { SETTING_VARIABLES } from './setting-catalogue.ts'
import { type Settings, settingsSchema } from './settings.ts'

/** Where a setting's value came from, for `ergon doctor`. */
export type SettingSource = 'command line' | 'environment' | 'default'

export interface LoadedSettings {
  settings: Settings
  sources: Record<keyof Settings, SettingSource>
}

/** Settings that a command can work with; throws CONFIG_INVALID, also for a profile that lacks what it needs. */
export function loadSettings(env: NodeJS.ProcessEnv, flags: Partial<Settings> = {}): LoadedSettings {
  const loaded = readSettings(env, flags)
  const lacking = findLackOfProfile(loaded.settings)
  if (lacking !== null) throw new ErgonError('CONFIG_INVALID', lacking)
  return loaded
}

/** What the profile demands and the settings do not give, in words, or null. */
export function findLackOfProfile({ profile, databaseUrl }: Settings): string | null {
  if (profile === 'development' || databaseUrl !== null) return null
  return `${SETTING_VARIABLES.profile} is ${profile}, which needs ${SETTING_VARIABLES.databaseUrl}: the embedded database is for development`
}

/** Settings from the command line, else the environment, else defaults; throws CONFIG_INVALID naming the variable. */
export function readSettings(env: NodeJS.ProcessEnv, flags: Partial<Settings> = {}): LoadedSettings {
  const profile = env[SETTING_VARIABLES.profile] ?? 'development'
  const home = flags.home ?? env[SETTING_VARIABLES.home]
  const defaultHome = defaultFolder(env, 'XDG_DATA_HOME', '.local/share', '/var/lib/ergon')
  const defaults: Settings = {
    profile: 'development',
    home: defaultHome,
    environments: path.join(home === undefined || home === '' ? defaultHome : home, 'environments'),
    cache: defaultFolder(env, 'XDG_CACHE_HOME', '.cache', '/var/cache/ergon'),
    databaseUrl: null,
    sandboxRuntime: 'crun',
    executorPolicy: null,
    registry: null,
    dockerHost: null,
    dockerCertPath: null,
    dockerSshKeyFile: null,
    dockerSshKnownHosts: null,
    signingKeyFile: null,
    acceptedRisks: [],
    debianMirror: null,
    debianSecurityMirror: null,
    logLevel: profile === 'development' ? 'warn' : 'info',
  }
  const values: Record<string, unknown> = {}
  const sources = {} as LoadedSettings['sources']
  for (const [key, variable] of Object.entries(SETTING_VARIABLES) as [keyof Settings, string][]) {
    const fromEnvironment = env[variable] === '' ? undefined : env[variable]
    sources[key] = flags[key] !== undefined ? 'command line' : fromEnvironment !== undefined ? 'environment' : 'default'
    values[key] = flags[key] ?? fromEnvironment ?? defaults[key]
  }
  const parsed = settingsSchema.safeParse(values)
  if (!parsed.success) throw invalid(parsed.error.issues[0], values)
  return { settings: parsed.data, sources }
}

function defaultFolder(env: NodeJS.ProcessEnv, xdg: string, belowHome: string, forRoot: string): string {
  const base = env[xdg]
  if (base !== undefined && path.isAbsolute(base)) return path.join(base, 'ergon')
  return process.getuid?.() === 0 ? forRoot : path.join(os.homedir(), belowHome, 'ergon')
}

/** Of whoever wrote one into a URL that takes none. */
const PASSWORD = /(\/\/[^/@:]*:)[^/@]*@/

function invalid(issue: z.core.$ZodIssue | undefined, values: Record<string, unknown>): ErgonError {
  const key = String(issue?.path[0] ?? '')
  const variable = SETTING_VARIABLES[key as keyof Settings] ?? key
  // A database URL holds a password, so its value is never shown.
  const shown = key === 'databaseUrl' ? '' : ` (it is ${JSON.stringify(values[key])?.replace(PASSWORD, '$1…@')})`
  return new ErgonError('CONFIG_INVALID', `${variable}${shown}: ${issue?.message ?? 'invalid'}`)
}
