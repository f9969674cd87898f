import os from 'node:os'
import path from 'node:path'
import type { z } from 'zod'
import { PROFILE_RULES, PROFILES, type RequiredSetting } from '../domain/profiles.ts'
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
export function loadSettings(
  env: NodeJS.ProcessEnv,
  flags: Partial<Settings> = {},
  { startsWorkers = false }: { startsWorkers?: boolean } = {},
): LoadedSettings {
  const loaded = readSettings(env, flags)
  const lacks = findLacks(loaded).filter(({ by }) => by === 'every command' || startsWorkers)
  if (lacks.length > 0) throw new ErgonError('CONFIG_INVALID', describeLacks(loaded.settings, lacks))
  return loaded
}

/** What the profile demands and nobody set; nothing of whoever asks a server, where the demands are met. */
export function findLacks({ settings, sources }: Pick<LoadedSettings, 'settings' | 'sources'>): RequiredSetting[] {
  if (settings.serverUrl !== null) return []
  const required: readonly RequiredSetting[] = PROFILE_RULES[settings.profile].required
  return required.filter(({ setting }) => sources[setting] === 'default')
}

/** All that is missing, in words. */
export function describeLacks({ profile }: Settings, lacks: readonly RequiredSetting[]): string {
  const each = lacks.map(({ setting, why }) => `${SETTING_VARIABLES[setting]}: ${why}`)
  return `${SETTING_VARIABLES.profile} is ${profile}, which needs ${each.join('; ')}`
}

/** Settings from the command line, else the environment, else defaults; throws CONFIG_INVALID naming the variable. */
export function readSettings(env: NodeJS.ProcessEnv, flags: Partial<Settings> = {}): LoadedSettings {
  const profile = flags.profile ?? PROFILES.find((name) => name === env[SETTING_VARIABLES.profile]) ?? 'development'
  const home = flags.home ?? env[SETTING_VARIABLES.home]
  const defaultHome = defaultFolder(env, 'XDG_DATA_HOME', '.local/share', '/var/lib/ergon')
  const defaults: Settings = {
    profile: 'development',
    home: defaultHome,
    environments: path.join(home === undefined || home === '' ? defaultHome : home, 'environments'),
    cache: defaultFolder(env, 'XDG_CACHE_HOME', '.cache', '/var/cache/ergon'),
    databaseUrl: null,
    callbackDatabaseUrl: null,
    sandboxRuntime: 'crun',
    executorPolicy: null,
    registry: null,
    dockerHost: null,
    dockerCertPath: null,
    dockerSshKeyFile: null,
    dockerSshKnownHosts: null,
    signingKeyFile: null,
    acceptedRisks: [],
    secretCommand: null,
    vaultAddress: null,
    vaultTokenFile: null,
    debianMirror: null,
    debianSecurityMirror: null,
    apiListen: '127.0.0.1:4680',
    apiFacade: 'auto',
    apiFacadeHosts: [],
    apiCorsOrigins: [],
    apiTrustedProxies: [],
    serverUrl: null,
    tokenFile: null,
    logLevel: PROFILE_RULES[profile].logLevel,
  }
  const values: Record<string, unknown> = {}
  const sources = {} as LoadedSettings['sources']
  for (const [key, variable] of Object.entries(SETTING_VARIABLES) as [keyof Settings, string][]) {
    const fromEnvironment = env[variable] === '' ? undefined : env[variable]
    sources[key] = flags[key] !== undefined ? 'command line' : fromEnvironment !== undefined ? 'environment' : 'default'
    values[key] = flags[key] ?? fromEnvironment ?? defaults[key]
  }
  const parsed = settingsSchema.safeParse(values)
  if (!parsed.success) throw invalid(parsed.error.issues, values)
  return { settings: parsed.data, sources }
}

function defaultFolder(env: NodeJS.ProcessEnv, xdg: string, belowHome: string, forRoot: string): string {
  const base = env[xdg]
  if (base !== undefined && path.isAbsolute(base)) return path.join(base, 'ergon')
  return process.getuid?.() === 0 ? forRoot : path.join(os.homedir(), belowHome, 'ergon')
}

/** All that is wrong, in one go. */
function invalid(issues: readonly z.core.$ZodIssue[], values: Record<string, unknown>): ErgonError {
  return new ErgonError('CONFIG_INVALID', issues.map((issue) => explain(issue, values)).join('; '))
}

/** Of whoever wrote one into a URL that takes none. */
const PASSWORD = /(\/\/[^/@:]*:)[^/@]*@/

function explain(issue: z.core.$ZodIssue, values: Record<string, unknown>): string {
  const key = String(issue.path[0] ?? '')
  const variable = SETTING_VARIABLES[key as keyof Settings] ?? key
  // A database URL holds a password, so its value is never shown.
  const shown =
    key === 'databaseUrl' || key === 'callbackDatabaseUrl'
      ? ''
      : ` (it is ${JSON.stringify(values[key])?.replace(PASSWORD, '$1…@')})`
  return `${variable}${shown}: ${issue.message}`
}
